"""A lease goes back once, whatever its lender does; only this host's own part is ever repeated."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ramshare.borrower.plan.releasing import (
    RELEASE_TRIES,
    Change,
    Releasing,
    Stage,
    Todo,
    answered,
    begin,
    not_forgotten,
)
from ramshare.borrower.plan.steps import Release

pytestmark = pytest.mark.unit

STEP = Release("l1", "lender.x")
LOST = Release("l1", "lender.x", lost=True)


def asked(*, cut_off: bool = False, tries: int = 1) -> Releasing:
    return Releasing("l1", "lender.x", Stage.ASKED, cut_off=cut_off, tries=tries)


def test_a_lease_goes_back_when_its_lender_takes_it() -> None:
    now, todo = begin(None, STEP, cut_off=False)
    assert (now.stage, todo) == (Stage.ASKED, (Todo.ASK,))
    now, todo = answered(now, taken=True)
    assert (now.stage, now.taken, todo) == (Stage.FORGETTING, True, (Todo.FORGET,))


def test_a_lost_lease_waits_for_nobody() -> None:
    now, todo = begin(None, LOST, cut_off=False)
    assert (now.stage, todo) == (Stage.FORGETTING, (Todo.OWE, Todo.FORGET))


@pytest.mark.parametrize("stage", [Stage.ASKED, Stage.FORGETTING])
def test_what_is_under_way_is_not_begun_again(stage: Stage) -> None:
    known = Releasing("l1", "lender.x", stage)
    assert begin(known, STEP, cut_off=False) == (known, ())


def test_a_silent_lender_is_asked_again_and_at_last_done_without() -> None:
    known: Releasing | None = None
    for _ in range(RELEASE_TRIES - 1):
        known, todo = answered(begin(known, STEP, cut_off=False)[0], taken=False)
        assert (known.stage, todo) == (Stage.REFUSED, ())
    now, todo = answered(begin(known, STEP, cut_off=False)[0], taken=False)
    assert (now.stage, todo) == (Stage.FORGETTING, (Todo.OWE, Todo.FORGET))


@pytest.mark.parametrize("taken", [True, False])
def test_a_lease_that_was_cut_off_is_forgotten_when_lvm_is_through_with_it(taken: bool) -> None:
    now, todo = answered(asked(cut_off=True), taken=taken)
    assert (now.stage, todo) == (Stage.PARTED, () if taken else (Todo.OWE,))
    assert begin(now, LOST, cut_off=False) == (Releasing(**vars(now) | {"stage": Stage.FORGETTING}), (Todo.FORGET,))


def test_the_lender_is_not_asked_again_when_only_this_host_failed() -> None:
    now = not_forgotten(answered(asked(), taken=True)[0])
    assert begin(now, STEP, cut_off=False)[1] == (Todo.FORGET,)


@given(events=st.lists(st.sampled_from(["step", "lost step", "cut off", "taken", "silent", "failed"]), max_size=30))
def test_whatever_happens_the_lender_is_asked_or_owed_and_never_forgotten_about(events: list[str]) -> None:
    now: Releasing | None = None
    told = forgets = 0
    for event in events:
        change: Change | None = None
        if event in ("step", "lost step", "cut off"):
            change = begin(now, LOST if event == "lost step" else STEP, cut_off=event == "cut off")
        elif now is not None and now.stage is Stage.ASKED and event in ("taken", "silent"):
            change = answered(now, taken=event == "taken")
        elif now is not None and now.stage is Stage.FORGETTING and event == "failed":
            now = not_forgotten(now)
        if change is None:
            continue
        now, todo = change
        told += Todo.OWE in todo or now.taken
        forgets += Todo.FORGET in todo
        if Todo.FORGET in todo:
            assert told, "the lender would keep an export for nobody"
    assert now is None or now.tries <= RELEASE_TRIES + len(events)
