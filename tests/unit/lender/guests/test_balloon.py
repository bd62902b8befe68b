"""Balloon targets: nobody below its floor, giving back before anything else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.lender.guests.balloon import MIB, STEP_BYTES, BalloonGuest, afford, plan_balloons, wanted_bytes

pytestmark = pytest.mark.unit
sizes = st.integers(0, 1 << 40)


def guest(
    name: str = "web1",
    *,
    top: int = 4096,
    has: int = 4096,
    used: int | None = 1000,
    uuid: str = "",
    pressed: bool = False,
) -> BalloonGuest:
    used_bytes = None if used is None else used * MIB
    return BalloonGuest(uuid or f"u-{name}", name, top * MIB, has * MIB, 0, used_bytes, pressed)


@st.composite
def any_guest(draw: st.DrawFn) -> BalloonGuest:
    top = draw(sizes)
    return BalloonGuest(
        uuid=draw(st.uuids()).hex,
        name=draw(st.sampled_from(["web1", "web2", "db"])),
        max_bytes=top,
        actual_bytes=draw(st.integers(0, top)),
        floor_bytes=draw(sizes),
        used_bytes=draw(st.none() | st.integers(0, top)),
        pressed=draw(st.booleans()),
        rise_bytes=draw(st.just(0) | sizes),
    )


@given(st.lists(any_guest(), max_size=6), sizes)
def test_nobody_is_asked_below_its_floor_or_above_what_there_is(guests: list[BalloonGuest], wanted: int) -> None:
    of = {each.uuid: each for each in guests}
    for target in plan_balloons(guests, wanted):
        about = of[target.uuid]
        assert target.target_bytes <= about.max_bytes
        if target.gives_back:
            assert target.target_bytes > about.actual_bytes
        else:
            assert about.needs_bytes <= target.target_bytes < about.actual_bytes
            assert target.target_bytes >= min(about.max_bytes, about.floor_bytes)
            assert about.used_bytes is not None
            assert not about.pressed


@given(st.lists(any_guest(), max_size=6), sizes)
def test_while_anybody_is_due_memory_back_nothing_is_taken(guests: list[BalloonGuest], wanted: int) -> None:
    plan = plan_balloons(guests, wanted)
    if any(each.is_due for each in guests):
        assert all(target.gives_back for target in plan)
    assert {each.uuid for each in guests if each.is_due} <= {target.uuid for target in plan}


@given(st.lists(any_guest(), max_size=6), sizes)
def test_no_more_is_taken_than_is_wanted(guests: list[BalloonGuest], wanted: int) -> None:
    of = {each.uuid: each for each in guests}
    held = sum(each.max_bytes - each.actual_bytes for each in guests)
    plan = [target for target in plan_balloons(guests, wanted) if not target.gives_back]
    taken = sum(of[target.uuid].actual_bytes - target.target_bytes for target in plan)
    assert not plan or held + taken <= wanted + len(guests)


@given(st.lists(any_guest(), max_size=6, unique_by=lambda g: g.uuid), sizes, st.integers(-(1 << 40), 1 << 41))
def test_guests_are_never_given_more_than_the_host_has(guests: list[BalloonGuest], wanted: int, spare: int) -> None:
    actual = {each.uuid: each.actual_bytes for each in guests}
    plan = plan_balloons(guests, wanted)
    affordable, owed = afford(plan, actual, spare)
    given = sum(t.target_bytes - actual[t.uuid] for t in affordable if t.gives_back)
    due = sum(t.target_bytes - actual[t.uuid] for t in plan if t.is_due)
    assert 0 <= given <= max(0, spare) or not affordable
    assert 0 <= owed <= due
    assert given + owed >= due - len(plan) or not due
    assert [t for t in affordable if not t.gives_back] == [t for t in plan if not t.gives_back]


def test_what_the_host_lacks_is_shared_by_those_that_are_due() -> None:
    guests = [guest("web1", has=1500, used=2000), guest("web2", has=2000, used=2500)]
    plan = plan_balloons(guests, 1 << 40)
    more = {t.name: t.target_bytes - g.actual_bytes for t, g in zip(plan, guests, strict=True)}
    affordable, owed = afford(plan, {g.uuid: g.actual_bytes for g in guests}, sum(more.values()) // 2)
    assert owed == sum(more.values()) // 2
    assert {t.name: t.target_bytes - g.actual_bytes for t, g in zip(affordable, guests, strict=True)} == {
        name: size // 2 for name, size in more.items()
    }
    assert afford(plan, {g.uuid: g.actual_bytes for g in guests}, 0)[0] == ()


def test_it_takes_little_by_little_and_in_the_end_all_that_is_wanted() -> None:
    guests, rounds = [guest("web1"), guest("web2", used=3000)], 0
    while plan := plan_balloons(guests, 2000 * MIB):
        rounds += 1
        new = {target.uuid: target.target_bytes for target in plan}
        guests = [
            BalloonGuest(g.uuid, g.name, g.max_bytes, new.get(g.uuid, g.actual_bytes), 0, g.used_bytes) for g in guests
        ]
    assert 5 < rounds < 50
    assert sum(g.max_bytes - g.actual_bytes for g in guests) == pytest.approx(2000 * MIB, abs=STEP_BYTES)


def test_two_guests_of_one_name_get_all_they_have() -> None:
    twins = [guest("web1", has=2048, uuid="one"), guest("web1", has=4096, uuid="two")]
    assert [(t.uuid, t.target_bytes) for t in plan_balloons(twins, 1 << 40)] == [("one", 4096 * MIB)]


@pytest.mark.parametrize("changes", [{"used": None}, {"pressed": True}])
def test_a_guest_that_is_silent_or_in_need_gets_all_back_at_once(changes: dict[str, object]) -> None:
    (target,) = plan_balloons([guest(has=1500, **changes)], 1 << 40)  # type: ignore[arg-type]
    assert (target.target_bytes, target.gives_back) == (4096 * MIB, True)


def test_what_is_not_to_be_lent_any_more_goes_back_little_by_little() -> None:
    plan = plan_balloons([guest("web1", has=2048), guest("web2", has=4095)], 0)
    assert {t.name: t.target_bytes // MIB for t in plan} == {"web1": 2048 + 204, "web2": 4096}


def test_a_guest_that_grows_gets_as_much_again_as_it_misses() -> None:
    (target,) = plan_balloons([guest(has=1500, used=2000)], 1 << 40)
    assert target.target_bytes == (2400 + 900) * MIB


def test_a_guest_whose_use_has_just_risen_gets_twice_the_rise_as_slack() -> None:
    calm, rising = guest(has=1500, used=1000), replace(guest(has=1500, used=1000), rise_bytes=400 * MIB)
    assert plan_balloons([calm], 2596 * MIB) == ()
    (target,) = plan_balloons([rising], 2596 * MIB)
    assert (target.target_bytes, target.gives_back) == ((1800 + 300) * MIB, True)


def test_guests_lend_only_what_the_host_itself_lacks() -> None:
    assert wanted_bytes(1000, own_bytes=2000, reserve_bytes=500, lent_bytes=0) == 0
    assert wanted_bytes(3000, own_bytes=2000, reserve_bytes=500, lent_bytes=0) == 1500
    # The same a little later: 600 of what came from balloons are lent.
    assert wanted_bytes(3000, own_bytes=1400, reserve_bytes=500, lent_bytes=600) == 1500
