"""How much of a volume goes onto leases, and what cannot be had."""

from dataclasses import replace

import pytest

from ramshare.borrower.plan.part import part_of, part_refused, wanted_bytes
from ramshare.borrower.plan.tags import parse, part_tags
from ramshare.borrower.plan.view import Goal, Layout, VolumeView
from ramshare.messages.requests import BorrowVolume
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

MIB = 1 << 20
AT_HOME = VolumeView("vg0/swap", 100 * MIB, Goal.HOME, None, Layout.LINEAR, 100 * MIB, ("/dev/vda",))
IN_PART = replace(AT_HOME, goal=Goal.ATTACHED, mode=Mode.MOVE, part_bytes=40 * MIB)


def asked(size_mib: int | None, mode: Mode = Mode.MOVE, *, at_most: bool = False) -> BorrowVolume:
    size_bytes = None if size_mib is None else size_mib * MIB
    return BorrowVolume(volume="vg0/swap", mode=mode, size_bytes=size_bytes, at_most=at_most)


@pytest.mark.parametrize(
    ("request_", "view", "why"),
    [
        (asked(40), AT_HOME, ""),
        (asked(None), AT_HOME, ""),
        (asked(None, Mode.MIRROR), AT_HOME, ""),
        (asked(100, Mode.MIRROR), AT_HOME, ""),
        (asked(40, Mode.MIRROR), AT_HOME, "raid1 legs of whole volumes only"),
        (asked(None, Mode.MIRROR, at_most=True), AT_HOME, "raid1 legs of whole volumes only"),
        (asked(101), AT_HOME, "leave the size out"),
        (asked(101, at_most=True), AT_HOME, ""),
        (asked(40), IN_PART, ""),
        (asked(None), IN_PART, "return it first"),
        (asked(41), IN_PART, "40 MiB of vg0/swap are borrowed for already"),
        (asked(41), replace(IN_PART, part_bytes=0), ""),
    ],
)
def test_what_can_be_had_of_a_volume(request_: BorrowVolume, view: VolumeView, why: str) -> None:
    said = part_refused(request_, request_.mode, view)
    assert (why in said) if why else said == ""


def test_a_part_is_whole_extents_of_the_volume() -> None:
    assert wanted_bytes(asked(41), AT_HOME, 4 * MIB) == 44 * MIB
    assert wanted_bytes(asked(99), AT_HOME, 32 * MIB) == 100 * MIB
    assert wanted_bytes(asked(None), AT_HOME, 4 * MIB) == 100 * MIB


def test_the_whole_volume_is_no_part() -> None:
    assert part_of(AT_HOME, 100 * MIB, 104 * MIB) == 0
    assert part_of(AT_HOME, 40 * MIB, 44 * MIB) == 40 * MIB
    assert part_of(AT_HOME, 100 * MIB, 12 * MIB) == 12 * MIB


def test_how_much_is_wanted_is_written_down_with_the_volume() -> None:
    assert parse(part_tags(40 * MIB)).part_bytes == 40 * MIB
    assert parse(["ramshare.part=much"]).part_bytes == 0
