"""How large LVM's copies are cut, from what the disks take as one request."""

from pathlib import Path

import pytest

from ramshare.linux.kcopyd import PARAMETER, copy_in_large_requests, request_kib

pytestmark = pytest.mark.unit


def machine(root: Path, **disks: tuple[int, int]) -> Path:
    (root / PARAMETER).parent.mkdir(parents=True)
    (root / PARAMETER).write_text("512\n")
    for name, (segments, kib) in disks.items():
        queue = root / "class/block" / name / "queue"
        queue.mkdir(parents=True)
        (queue / "max_segments").write_text(f"{segments}\n")
        (queue / "max_sectors_kb").write_text(f"{kib}\n")
    return root


@pytest.mark.parametrize(
    ("limits", "kib"),
    [
        pytest.param([(254, 1280), (2048, 1280)], 1016, id="every page is a segment"),
        pytest.param([(168, 512)], 512, id="the size counts as well"),
        pytest.param([(4096, 32767)], 1024, id="no more than the kernel takes"),
        pytest.param([(64, 1280), (254, 1280)], 256, id="the disk that takes least"),
    ],
)
def test_a_request_is_as_large_as_both_disks_take_in_one(limits: list[tuple[int, int]], kib: int) -> None:
    assert request_kib(limits) == kib


def test_the_kernel_is_told_before_a_copy_begins(tmp_path: Path) -> None:
    sys = machine(tmp_path, vda=(254, 1280), sda=(2048, 1280))
    assert copy_in_large_requests(("/dev/vda", "/dev/sda"), sys) == 1016
    assert (sys / PARAMETER).read_text() == "1016\n"


@pytest.mark.parametrize("gone", ["class/block/vda/queue/max_segments", str(PARAMETER)])
def test_a_kernel_that_does_not_say_or_cannot_be_told_copies_as_it_did(gone: str, tmp_path: Path) -> None:
    sys = machine(tmp_path, vda=(254, 1280))
    (sys / gone).unlink()
    if gone == str(PARAMETER):
        (sys / PARAMETER).parent.rmdir()
    assert copy_in_large_requests(("/dev/vda",), sys) == 0
