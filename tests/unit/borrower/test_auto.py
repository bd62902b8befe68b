"""The borrower reacts by itself: nobody types anything, and people have the last word."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.borrower_scene import Scene
from kit.hands import VOLUME
from ramshare import audit
from ramshare.messages.base import Message
from ramshare.messages.events import Event
from ramshare.messages.state import Decisions, Mode, VolumePhase
from ramshare.settings import AllowedVolume

pytestmark = pytest.mark.unit

MOVE = {VOLUME: AllowedVolume(Mode.MOVE)}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    scene.lender("a", 9, committed=9)
    yield scene
    scene.close()
    assert scene.errors.seen == []


def storm(scene: Scene, seconds: float = 15) -> None:
    scene.swap.storm()
    scene.advance(seconds)


def demands(scene: Scene) -> list[str]:
    events = [p.payload for who, p in scene.broker.published if who == "borrower.b" and p.topic.endswith("/demand")]
    return [Event.model_validate_json(payload).sentence for payload in events]


def decisions(scene: Scene) -> list[str]:
    found: Message | None = scene.state("borrower.b", "decisions")
    return list(found.decisions) if isinstance(found, Decisions) else []


def test_without_the_owners_word_nothing_is_borrowed(scene: Scene) -> None:
    scene.ready()
    storm(scene, 120)
    assert scene.lent() == 0
    assert demands(scene) == decisions(scene) == []


def test_a_storm_is_borrowed_for_and_the_volume_comes_home_when_it_is_quiet(scene: Scene) -> None:
    scene.ready(auto=MOVE, auto_quiet_s=60)
    storm(scene, 30)
    assert (scene.volume().phase, scene.volume().mode) == (VolumePhase.ATTACHED, Mode.MOVE)
    assert "borrowed by itself" in scene.volume().step
    scene.swap.calm()
    scene.advance(90)
    assert scene.lent() == 0
    borrowed, returned = demands(scene)
    assert borrowed.startswith(f"borrowing 0 MiB for {VOLUME} by move, by itself: a storm")
    assert returned.startswith(f"returning {VOLUME} by itself: nobody has swapped to it for 60 s")
    told = decisions(scene)
    assert any(": borrow, a storm" in line for line in told)
    assert any(": return, nobody has swapped" in line for line in told)


def test_a_blip_borrows_nothing_and_is_told(scene: Scene) -> None:
    scene.ready(auto=MOVE)
    for _ in range(5):
        storm(scene, 5)
        scene.swap.calm()
        scene.advance(20)
    assert demands(scene) == []
    assert "a blip, over before it was a storm" in decisions(scene)[-1]


def test_no_more_than_the_owner_allows_is_asked_for(scene: Scene) -> None:
    scene.ready(auto={VOLUME: AllowedVolume(Mode.MOVE, 2)})
    storm(scene, 30)
    assert scene.lent() == 2 + 1
    assert scene.volume().remote_bytes == 2


def test_the_audit_line_says_that_it_was_automatic_and_why(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.ready(auto=MOVE, auto_quiet_s=30)
    with caplog.at_level(logging.INFO, audit.LOGGER):
        storm(scene, 30)
        scene.swap.calm()
        scene.advance(60)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == audit.LOGGER]
    (mine,) = [line for line in lines if line["told_by"] == "borrower.b"]
    assert mine["reason"] == "nobody has swapped to it for 30 s (borrowed by itself)"


# ---- people


def test_a_persons_loan_is_never_returned_by_itself(scene: Scene) -> None:
    scene.ready(auto=MOVE, auto_quiet_s=30)
    assert scene.borrow(Mode.MOVE).ok
    scene.advance(300)
    assert scene.volume().phase is VolumePhase.ATTACHED
    assert demands(scene) == []


def test_what_a_person_borrows_on_top_is_theirs_from_then_on(scene: Scene) -> None:
    scene.ready(auto=MOVE, auto_quiet_s=60)
    storm(scene, 30)
    scene.swap.calm()
    reply = scene.borrow(Mode.MOVE)
    assert "it is yours now" in reply.sentence
    scene.advance(300)
    assert scene.volume().phase is VolumePhase.ATTACHED
    assert len(demands(scene)) == 1


def test_what_a_person_returns_in_the_storm_stays_at_home(scene: Scene) -> None:
    scene.ready(auto=MOVE)
    storm(scene, 30)
    assert scene.bring_back().ok
    scene.advance(300)
    assert scene.lent() == 0
    assert any("a person brought it home" in line for line in decisions(scene))


# ---- what may befall it


def test_an_agent_that_starts_again_goes_on_with_its_loan_and_ends_it(scene: Scene) -> None:
    scene.ready(auto=MOVE, auto_quiet_s=60)
    storm(scene, 12)
    scene.kill("borrower.b")
    scene.borrower(auto=MOVE, auto_quiet_s=60)
    scene.advance(30)
    assert scene.volume().phase is VolumePhase.ATTACHED
    scene.swap.calm()
    scene.advance(90)
    assert scene.lent() == 0


def test_without_a_manager_it_asks_again_until_there_is_one(scene: Scene) -> None:
    scene.borrower(auto=MOVE)
    storm(scene, 120)
    assert "the manager does not answer" in demands(scene)[1]
    scene.manager()
    scene.advance(120)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_cluster_without_memory_is_asked_ever_more_rarely(tmp_path: Path) -> None:
    scene = Scene(tmp_path).ready(auto=MOVE)
    scene.step_s = 1.0
    storm(scene, 900)
    asked = [sentence for sentence in demands(scene) if sentence.startswith("borrowing")]
    assert 3 <= len(asked) <= 8
    assert scene.lent() == 0
    assert any("a storm, but not asked again" in line for line in decisions(scene))
    scene.close()


def test_a_volume_that_vanishes_is_told_and_borrowed_for_when_it_is_back(scene: Scene) -> None:
    scene.swap.there = False
    scene.ready(auto=MOVE)
    storm(scene, 60)
    assert "there is no volume vg0/swap on this host" in decisions(scene)[-1]
    scene.swap.there = True
    scene.advance(30)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_lender_that_offers_and_never_delivers_is_left_and_asked_ever_more_rarely(scene: Scene) -> None:
    scene.model.delivers = False
    scene.ready(auto=MOVE, auto_loans_per_hour=60)
    scene.step_s = 1.0
    storm(scene, 900)
    asked = [sentence for sentence in demands(scene) if sentence.startswith("borrowing")]
    assert 3 <= len(asked) <= 8
    assert any("nothing of the loan could be used for 1" in sentence for sentence in demands(scene))
    assert any("not asked again for" in line for line in decisions(scene))


def test_what_the_owner_does_not_allow_any_more_goes_home(scene: Scene) -> None:
    scene.ready(auto=MOVE)
    storm(scene, 30)
    scene.kill("borrower.b")
    scene.borrower()
    scene.advance(30)
    assert scene.lent() == 0
    assert "does not allow automatic loans for it any more" in demands(scene)[-1]


def test_a_persons_loan_is_none_of_it(scene: Scene) -> None:
    scene.ready()
    assert scene.borrow(Mode.MOVE).ok
    scene.advance(120)
    assert scene.volume().phase is VolumePhase.ATTACHED


# ---- a loan must help


def test_a_loan_that_would_not_help_is_given_back_at_once_with_both_figures(scene: Scene) -> None:
    scene.model.lease_read_s, scene.model.home_read_s = 0.001, 0.0015
    scene.ready(auto=MOVE)
    storm(scene, 25)
    assert scene.lent() == 0
    assert not any(kind == "attached" for kind in scene.kinds())
    scene.advance(2)
    assert "1.00 ms from it and 1.50 ms from the local disk" in decisions(scene)[-1]
    assert "not asked again for" in decisions(scene)[-1]


def test_it_is_tried_again_ever_more_rarely(scene: Scene) -> None:
    scene.model.lease_read_s = 1.0
    scene.ready(auto=MOVE, auto_loans_per_hour=60)
    scene.step_s = 1.0
    storm(scene, 900)
    assert 4 <= len([x for x in demands(scene) if x.startswith("borrowing")]) <= 9


def test_a_persons_loan_is_made_as_asked_and_measured_if_they_say_so(scene: Scene) -> None:
    scene.model.lease_read_s = 1.0
    scene.ready()
    assert scene.borrow(Mode.MOVE).ok
    assert scene.volume().phase is VolumePhase.ATTACHED
    scene.bring_back()
    assert scene.borrow(Mode.MOVE, only_if_faster=True).ok
    scene.advance(20)
    assert scene.lent() == 0


def test_a_loan_that_becomes_slower_than_home_goes_home(scene: Scene) -> None:
    scene.ready(auto=MOVE)
    storm(scene, 30)
    scene.swap.read_s = 0.05
    scene.advance(240)
    assert "it has been slower than home" in demands(scene)[1]
    assert any("not asked again for" in line for line in decisions(scene))
