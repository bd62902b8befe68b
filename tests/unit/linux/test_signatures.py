"""What lies on a device that is not swap; the outputs are those of util-linux 2.38."""

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.signatures import found_on

pytestmark = pytest.mark.unit

EXT4 = """\
DEVNAME=/dev/vg0/data
LABEL=my\\ data
UUID=20eedebe-a231-43c6-a8ab-587aa5eae2fa
VERSION=1.0
BLOCK_SIZE=1024
TYPE=ext4
USAGE=filesystem
"""


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (EXT4, "an ext4 file system (label my data)"),
        ("TYPE=xfs\nUSAGE=filesystem\n", "an xfs file system"),
        ("TYPE=btrfs\nUSAGE=filesystem\n", "a btrfs file system"),
        ("PTUUID=0f8a\nPTTYPE=gpt\n", "a partition table (gpt)"),
        ("PTUUID=0f8a\nPTTYPE=dos\n", "a partition table (dos)"),
        ("TYPE=LVM2_member\nUSAGE=raid\n", "an LVM physical volume"),
        ("TYPE=crypto_LUKS\nUSAGE=crypto\n", "an encrypted device (LUKS)"),
        ("TYPE=swsuspend\nUSAGE=other\n", "a hibernated system"),
        ("TYPE=something_new\nUSAGE=other\n", "something_new"),
    ],
)
def test_it_says_what_blkid_finds(printed: str, said: str) -> None:
    assert found_on(FakeRunner().on("blkid", "--probe", ..., stdout=printed), "/dev/vg0/data") == said


def test_nothing_known_is_said_as_nothing() -> None:
    assert found_on(FakeRunner().on("blkid", ..., returncode=2), "/dev/vg0/data") == ""


def test_more_than_one_thing_is_not_nothing() -> None:
    assert found_on(FakeRunner().on("blkid", ..., returncode=8), "/dev/vg0/data")


def test_what_cannot_be_looked_at_is_not_taken_for_nothing() -> None:
    assert found_on(FakeRunner().on("blkid", ..., returncode=4, stderr="Permission denied"), "/dev/vg0/data") is None
