"""RAM disks: which file system, and images that are complete or not there at all."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.memory import MemoryInfo
from ramshare.linux.ramdisk import (
    CHUNK_BYTES,
    MAX_RECORD_BYTES,
    NotEnoughMemoryError,
    Ramdisk,
    RamdiskError,
    choose_filesystem,
    kernel_version,
)

pytestmark = pytest.mark.unit

MIB = 1024 * 1024


def available(size_bytes: int) -> MemoryInfo:
    return MemoryInfo(2**40, size_bytes, size_bytes, 0, 0, 0)


@pytest.fixture
def disk(tmp_path: Path) -> Ramdisk:
    return make(tmp_path)


def make(root: Path, memory: Callable[[], MemoryInfo] = lambda: available(2**40), mounts: str = "") -> Ramdisk:
    table = root.parent / f"{root.name}.mounts"
    table.write_text(f"proc /proc proc rw 0 0\n{mounts}")
    runner = FakeRunner().on("mount", ...).on("umount", ...)
    return Ramdisk(runner, root, memory=memory, mounts=table)


@pytest.mark.parametrize(
    ("has_swap", "kernel", "kind"),
    [(True, (6, 1), "ramfs"), (False, (6, 1), "tmpfs"), (True, (6, 4), "tmpfs"), (False, (6, 12), "tmpfs")],
)
def test_what_might_be_swapped_out_is_never_lent(has_swap: bool, kernel: tuple[int, int], kind: str) -> None:
    found, options = choose_filesystem(has_swap=has_swap, kernel=kernel)
    assert found == kind
    assert "mode=0700" in options
    if kind == "tmpfs" and has_swap:
        assert "noswap" in options


def test_kernel_versions_are_read_whatever_distributions_append() -> None:
    assert kernel_version("6.1.0-18-cloud-amd64") == (6, 1)
    assert kernel_version("6.4-rc1") == (6, 4)
    assert kernel_version() >= (2, 6)


def test_mounting_what_is_mounted_runs_nothing(tmp_path: Path) -> None:
    disk = make(tmp_path, mounts=f"ramshare {tmp_path} ramfs rw 0 0\n")
    assert disk.mount() == "ramfs"
    assert disk._runner.calls == []  # type: ignore[attr-defined]
    assert not disk.can_unmap


def test_a_directory_on_another_mounted_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RamdiskError, match="ext4"):
        make(tmp_path, mounts=f"/dev/sda {tmp_path} ext4 rw 0 0\n").mount()


def test_an_image_is_zero_private_and_reported_while_it_grows(disk: Ramdisk) -> None:
    seen: list[int] = []
    size_bytes = 2 * CHUNK_BYTES + 4096
    image = disk.allocate("lease1", size_bytes, seen.append)
    assert image.read_bytes() == bytes(size_bytes)
    assert stat.S_IMODE(image.stat().st_mode) == 0o600
    assert seen == [CHUNK_BYTES, 2 * CHUNK_BYTES, size_bytes]
    assert disk.images() == {"lease1": size_bytes}


def test_no_image_is_ever_handed_out_with_what_was_in_it_before(disk: Ramdisk) -> None:
    image = disk.allocate("lease1", 4096)
    image.write_bytes(b"x" * 4096)
    with image.open("rb") as used:
        assert disk.allocate("lease1", 4096).read_bytes() == bytes(4096)
        assert used.read() == b"x" * 4096, "who has the old one open keeps it"
    assert disk.allocate("lease1", 8192).read_bytes() == bytes(8192)


def test_nothing_is_written_through_links_or_read_from_what_is_no_file(disk: Ramdisk, tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}.elsewhere"
    elsewhere.write_text("precious")
    for name in ("lease1.img", "lease1.partial", "lease1.tmp", "lease2.img", "lease3.json"):
        (tmp_path / name).symlink_to(elsewhere)
    os.mkfifo(tmp_path / "lease4.json")
    (tmp_path / "lease5.json").mkdir()
    (tmp_path / "lease6.json").write_text("[" * 60_000)
    (tmp_path / "lease7.json").write_text(json.dumps({"padding": "x" * MAX_RECORD_BYTES}))
    (tmp_path / "lease8.img").mkdir()
    assert (disk.images(), disk.records()) == ({}, {})
    assert not disk.allocate("lease1", 4096).is_symlink()
    disk.write_record("lease1", {"borrower": "hostb"})
    disk.free("lease2")
    assert elsewhere.read_text() == "precious"
    assert disk.images() == {"lease1": 4096}


def test_what_an_earlier_run_was_writing_gives_its_memory_back(tmp_path: Path) -> None:
    disk = make(tmp_path, mounts=f"ramshare {tmp_path} tmpfs rw 0 0\n")
    (tmp_path / "lease1.partial").write_bytes(bytes(4096))
    (tmp_path / "lease1.tmp").write_text('{"half')
    (tmp_path / "notes.txt").write_text("somebody's")
    disk.mount()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_does_not_fit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    disk = make(tmp_path, lambda: available(100 * MIB))
    with pytest.raises(NotEnoughMemoryError, match="104857600 are available"):
        disk.allocate("lease1", 50 * MIB, reserve_bytes=64 * MIB)
    assert list(tmp_path.iterdir()) == []


def test_memory_that_runs_out_meanwhile_leaves_nothing_behind(tmp_path: Path) -> None:
    left = iter([200 * MIB, 200 * MIB, 10 * MIB])
    disk = make(tmp_path, lambda: available(next(left)))
    with pytest.raises(NotEnoughMemoryError):
        disk.allocate("lease1", 16 * MIB)
    assert list(tmp_path.iterdir()) == []


def test_freeing_takes_image_and_record_and_may_be_repeated(disk: Ramdisk) -> None:
    disk.allocate("lease1", 4096)
    disk.write_record("lease1", {"borrower": "hostb"})
    disk.free("lease1")
    disk.free("lease1")
    assert list(disk.root.iterdir()) == []


def test_records_are_private_replaced_whole_and_survive_a_reader_that_finds_a_broken_one(disk: Ramdisk) -> None:
    disk.write_record("lease1", {"secret": "x"})
    disk.write_record("lease1", {"secret": "y"})
    (disk.root / "lease2.json").write_text('{"half')
    (disk.root / "lease3.json").write_text("[]")
    assert disk.records() == {"lease1": {"secret": "y"}}
    assert stat.S_IMODE((disk.root / "lease1.json").stat().st_mode) == 0o600
    assert not list(disk.root.glob("*.tmp"))


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden"])
def test_a_name_cannot_leave_the_directory(name: str, disk: Ramdisk) -> None:
    with pytest.raises(RamdiskError, match="not a name"):
        disk.allocate(name, 4096)


def test_a_ram_disk_with_images_stays_mounted(tmp_path: Path) -> None:
    disk = make(tmp_path, mounts=f"ramshare {tmp_path} tmpfs rw 0 0\n")
    disk.allocate("lease1", 4096)
    with pytest.raises(RamdiskError, match="1 image"):
        disk.umount()
    disk.free("lease1")
    disk.umount()
    assert disk._runner.calls == [("umount", str(tmp_path))]  # type: ignore[attr-defined]
