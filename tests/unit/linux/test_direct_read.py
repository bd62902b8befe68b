"""How long a disk takes to answer small reads."""

import os
from pathlib import Path

import pytest

from ramshare.errors import RamshareError
from ramshare.linux.direct_read import read_times_s

pytestmark = pytest.mark.unit


def test_a_disk_that_answers_has_a_time(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    try:
        os.close(os.open(disk, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system knows no direct I/O")
    assert all(0.0 < took_s < 60.0 for took_s in read_times_s(str(disk), within_s=60.0))


def test_a_disk_that_answers_nothing_is_told_in_time(tmp_path: Path) -> None:
    hangs = tmp_path / "hangs"
    os.mkfifo(hangs)
    with pytest.raises(RamshareError, match=r"answered no read within 0\.05 s"):
        read_times_s(str(hangs), within_s=0.05)
    os.close(os.open(hangs, os.O_WRONLY | os.O_NONBLOCK))  # lets the thread go


def test_a_disk_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RamshareError, match=r"cannot read .*No such file"):
        read_times_s(str(tmp_path / "none"))
