"""The audit line of a lease: one on either side for every lease that ended, and no secret in it."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from kit.borrower_scene import Scene as BorrowerScene
from kit.hands import VOLUME
from kit.memory_bus import MemoryBroker, memory_bus
from ramshare.audit import LOGGER, EndedLease, lease_ended
from ramshare.launch import set_up_logging
from ramshare.messages.events import Event, LeaseOutcome
from ramshare.messages.requests import ReleaseLease
from ramshare.messages.state import Mode
from unit.lender.test_lender import Scene as LenderScene

pytestmark = pytest.mark.unit


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """What was written so far, oldest first."""
    caplog.set_level(logging.INFO, LOGGER)

    class Lines(list[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return iter([json.loads(r.getMessage()) for r in caplog.records if r.name == LOGGER])

    yield Lines()


@pytest.fixture
def lending(tmp_path: Path) -> Iterator[LenderScene]:
    scene = LenderScene(tmp_path)
    yield scene
    scene.close()


@pytest.fixture
def borrowing(tmp_path: Path) -> Iterator[BorrowerScene]:
    scene = BorrowerScene(tmp_path)
    yield scene
    scene.close()


def _told(scene: LenderScene | BorrowerScene) -> list[Event]:
    found = [p.payload for _, p in scene.broker.published if p.topic.endswith("/lease-ended")]
    return [Event.model_validate_json(payload) for payload in found]


def test_a_lease_that_is_given_back_is_told_once_by_its_lender(lending: LenderScene, lines: list[Any]) -> None:
    lending.lender()
    lending.export(100, "l1")
    for _ in range(2):
        lending.ask("borrower.b", ReleaseLease(lease="l1"))
    (line,) = lines
    assert (line["lender"], line["borrower"], line["size_bytes"]) == ("lender.a", "borrower.b", 100 << 20)
    assert (line["mode"], line["outcome"], line["reason"]) == ("mirror", "returned", "given back by borrower.b")
    assert line["granted_at"] < line["ended_at"]
    (event,) = _told(lending)
    assert (event.lease, event.peer, event.outcome) == ("l1", "borrower.b", LeaseOutcome.RETURNED)


def test_a_grant_that_nobody_used_ends_as_unused(lending: LenderScene, lines: list[Any]) -> None:
    lending.lender()
    lending.export(100, "l1")
    lending.ask("manager", ReleaseLease(lease="l1"))
    assert [line["outcome"] for line in lines] == ["unused"]


def test_a_mirror_that_is_cut_off_says_why(lending: LenderScene, lines: list[Any]) -> None:
    lending.lender()
    borrower = lending.borrower()
    borrower.obeys = False
    lending.attach(400, "l1")
    lending.policy.lendable_bytes = 0
    lending.advance(30)
    (line,) = lines
    assert line["outcome"] == "cut-off"
    assert "let the deadline pass" in line["reason"]


def test_the_borrower_tells_what_a_lease_was_for_and_since_when(borrowing: BorrowerScene, lines: list[Any]) -> None:
    borrowing.lender("x", 3)
    borrowing.lender("y", 3)
    borrowing.ready().borrow()
    assert list(lines) == []
    borrowing.bring_back()
    assert {line["lender"] for line in lines} == {"lender.x", "lender.y"}
    for line in lines:
        assert (line["borrower"], line["volume"], line["outcome"]) == ("borrower.b", VOLUME, "returned")
        assert line["granted_at"] < line["ended_at"]
    assert {event.volume for event in _told(borrowing)} == {VOLUME}


def test_no_secret_is_in_any_line_or_event(borrowing: BorrowerScene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    borrowing.lender("x", 9)
    borrowing.ready().borrow()
    borrowing.bring_back()
    assert "secret-of-" not in caplog.text
    events = [p.payload for _, p in borrowing.broker.published if "/event/" in p.topic]
    assert events
    assert not any(b"secret-of-" in payload for payload in events)


def test_what_a_peer_wrote_cannot_break_the_line_or_act_on_a_terminal(lines: list[Any], caplog: Any) -> None:
    ended = EndedLease("l1", "lender.x", 1, Mode.MIRROR, LeaseOutcome.LOST, "\x1b[2J\n‮{}")
    lease_ended(memory_bus(MemoryBroker(), "borrower.b"), ended)
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert record.getMessage().isprintable()
    assert [line["reason"] for line in lines] == ["\x1b[2J\n‮{}"]


def test_audit_lines_are_written_whatever_the_log_level(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up_logging("ERROR")
        ended = EndedLease("l1", "lender.x", 1, Mode.MIRROR, LeaseOutcome.RETURNED, "not needed any more")
        lease_ended(memory_bus(MemoryBroker(), "borrower.b"), ended)
    finally:
        root.handlers[:], root.level = before
    assert '"lease": "l1"' in capsys.readouterr().err


def test_an_event_has_no_place_for_a_secret() -> None:
    assert not [name for name, field in Event.model_fields.items() if SecretStr in (field.annotation,)]
    assert not [name for name in Event.model_fields if "secret" in name or "chap" in name or "key" in name]
