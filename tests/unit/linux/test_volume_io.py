"""What the kernel counts of a volume's I/O."""

import os
from pathlib import Path

import pytest

from ramshare.linux.volume_io import VolumeIo, read_volume_io

pytestmark = pytest.mark.unit

STAT = "   100   0   800   3000   7   1   56   90   0   2500   3090   0 0 0 0 0 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine on which /dev/vg0/swap is what the test machine has as /dev/null."""
    number = Path("/dev/null").stat().st_rdev
    block = tmp_path / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    (block / "dm").mkdir(parents=True)
    (block / "stat").write_text(STAT)
    (block / "size").write_text("2097152\n")
    (block / "dm/uuid").write_text("LVM-group-volume\n")
    (tmp_path / "dev/vg0").mkdir(parents=True)
    (tmp_path / "dev/vg0/swap").symlink_to("/dev/null")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n")
    return tmp_path


def test_counters_are_read_in_bytes_and_seconds(root: Path) -> None:
    assert read_volume_io("vg0/swap", root) == VolumeIo(
        "LVM-group-volume", 1 << 30, reads=100, read_bytes=800 * 512, read_s=3.0, write_bytes=56 * 512, busy_s=2.5
    )


def test_what_this_host_has_swapped_out_is_told(root: Path) -> None:
    (root / "proc/swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n/dev/vg0/swap partition 1048572 2048 -2\n")
    found = read_volume_io("vg0/swap", root)
    assert found is not None
    assert found.used_bytes == 2048 * 1024


@pytest.mark.parametrize("gone", ["dev/vg0/swap", "proc/swaps"])
def test_what_is_not_there_is_none(root: Path, gone: str) -> None:
    (root / gone).unlink()
    found = read_volume_io("vg0/swap", root)
    assert (found is None) is (gone == "dev/vg0/swap")


@pytest.mark.parametrize("stat", ["", "1 2 3", "a b c d e f g h i j"])
def test_a_kernel_that_counts_otherwise_counts_nothing(root: Path, stat: str) -> None:
    number = Path("/dev/null").stat().st_rdev
    (root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").write_text(stat)
    assert read_volume_io("vg0/swap", root) is None


def test_a_device_of_another_kind_is_no_volume(root: Path) -> None:
    number = Path("/dev/null").stat().st_rdev
    (root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}/dm/uuid").unlink()
    assert read_volume_io("vg0/swap", root) is None
