"""What any message must stand: the wire, a newer peer, hostile figures; and no secret may show in a log."""

import json
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kit.strategies import messages
from ramshare.messages.base import MAX_BYTES, MAX_PAYLOAD_BYTES, MAX_SENTENCE, Message
from ramshare.messages.events import Event
from ramshare.messages.replies import REPLIES, BorrowReply, ErrorCode, Grant, Reply
from ramshare.messages.requests import Drain, Vacate
from ramshare.messages.state import Decisions, ManagerState, Memory, Offer, Status
from ramshare.topics import REQUESTS, every_state_model

pytestmark = pytest.mark.unit

KINDS: list[type[Message]] = sorted(
    {*every_state_model(), *REQUESTS.values(), *REPLIES, Event},
    key=lambda kind: kind.KIND,
)
SECRET = "s3cret-s3cret-s3cret"


def grant(**changes: Any) -> dict[str, Any]:
    return {
        "lease": "l1",
        "lender": "lender.hosta",
        "portal": "10.0.0.1:3260",
        "target": "iqn.2026-11.io.ramshare:hosta.l1",
        "size_bytes": 1 << 20,
        "chap_user": "u",
        "sealed_secrets": SECRET,
        **changes,
    }


def offer(**changes: Any) -> dict[str, Any]:
    return {
        "host": "hosta",
        "portal": "10.0.0.1:3260",
        "capacity_bytes": 1 << 30,
        "lent_bytes": 0,
        "free_bytes": 1 << 30,
        "exportable": True,
        "reason": "spare",
        **changes,
    }


@pytest.mark.parametrize(
    "at",
    [
        '"0001-01-01T00:00:00+23:59"',
        '"0001-01-01T00:00:00Z"',
        '"1969-12-31T23:59:59Z"',
        '"1970-01-01T00:00:00+00:01"',
        '"2200-01-01T00:00:01Z"',
        '"9999-12-31T23:59:59-23:59"',
        "-1",
        "1e10",
        '"2026-11-25T04:00:00"',
    ],
)
def test_an_implausible_time_is_refused_wherever_it_stands(at: str) -> None:
    with pytest.raises(ValidationError, match=r"^1 validation error"):
        Drain.model_validate_json(f'{{"at": {at}}}')
    with pytest.raises(ValidationError, match=r"^1 validation error"):
        Vacate.model_validate_json(f'{{"leases": ["l1"], "size_bytes": 1, "deadline": {at}}}')


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "2026-11-25T09:30:00+05:30", "2199-12-31T00:00:00-23:00"])
def test_a_time_with_any_offset_is_the_same_moment_in_utc(at: str) -> None:
    found = Drain.model_validate_json(f'{{"at": "{at}"}}').at
    assert found.utcoffset() == timedelta(0)
    assert found == datetime.fromisoformat(at)
    found.astimezone(timezone(timedelta(hours=-23, minutes=-59)))
    found.astimezone(timezone(timedelta(hours=23, minutes=59)))


@pytest.mark.parametrize("port", ["0", "00001", "65536", "99999", "123456", ""])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(ValidationError, match="portal"):
        Offer.model_validate(offer(portal=f"10.0.0.1:{port}"))
    assert Offer.model_validate(offer(portal="10.0.0.1:65535"))


def test_figures_that_json_cannot_carry_exactly_are_refused() -> None:
    with pytest.raises(ValidationError, match="seq"):
        Drain(seq=(1 << 53) + 1)
    for count in ("lenders", "borrowers", "leases"):
        with pytest.raises(ValidationError, match=count):
            ManagerState.model_validate({"ready": True, "lenders": 0, "borrowers": 0, "leases": 0, count: 1 << 60})


def test_every_message_names_its_own_layout() -> None:
    names = [kind.KIND for kind in KINDS]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
@given(data=st.data())
@settings(max_examples=25)
def test_a_message_comes_back_from_the_wire_as_it_was(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    wire = message.to_json()
    assert len(wire) <= MAX_PAYLOAD_BYTES
    assert json.loads(wire)["schema"] == kind.KIND
    assert kind.model_validate_json(wire) == message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
@given(data=st.data())
@settings(max_examples=5)
def test_a_newer_peers_fields_are_passed_over(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    extended = json.loads(message.to_json()) | {"invented_later": [1, {"deep": True}]}
    assert kind.model_validate_json(json.dumps(extended)) == message


@given(size=st.one_of(st.integers(max_value=-1), st.integers(min_value=MAX_BYTES + 1)))
def test_absurd_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValidationError):
        Offer.model_validate_json(json.dumps(offer(free_bytes=size)))


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-Infinity", "-1", "1e400", '"many"', "null", "[]"])
def test_figures_that_are_none_are_refused(figure: str) -> None:
    fields = '"total_bytes": 10, "available_bytes": 5, "used_bytes": 5, "interval_s": 5'
    Memory.model_validate_json("{" + fields + "}")
    with pytest.raises(ValidationError):
        Memory.model_validate_json("{" + fields + f', "swap_in_bytes_s": {figure}' + "}")
    with pytest.raises(ValidationError):
        Memory.model_validate_json("{" + fields + f', "swap_used_bytes": {figure}' + "}")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_figures_that_are_none_cannot_be_sent_either(value: float) -> None:
    with pytest.raises(ValidationError):
        Memory(total_bytes=1, available_bytes=0, used_bytes=0, interval_s=value)


@pytest.mark.parametrize(
    "hostile",
    ["../etc", "L1", "a/b", "", "-x", "l1\n", "l" * 64, "lé", "l 1", "+", "#"],
)
def test_a_lease_id_cannot_be_a_path_an_option_or_a_wildcard(hostile: str) -> None:
    with pytest.raises(ValidationError):
        Grant.model_validate(grant(lease=hostile))


@pytest.mark.parametrize(
    "portal", ["hosta", "hosta:", ":3260", "a b:3260", "hosta:3260 -o x", "-a\n:1", "hosta:999999"]
)
def test_a_portal_is_an_address_and_a_port(portal: str) -> None:
    with pytest.raises(ValidationError):
        Grant.model_validate(grant(portal=portal))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        Vacate.model_validate({"leases": ["l1"], "size_bytes": 1, "deadline": "2026-11-22T10:00:00"})


def test_a_secret_travels_but_shows_nowhere_else() -> None:
    reply = BorrowReply(request_id="12345678", grants=(Grant.model_validate(grant()),))
    assert SECRET.encode() in reply.to_json()
    for shown in (repr(reply), str(reply), f"{reply.grants[0]}", str(reply.model_dump()), repr(reply.grants)):
        assert SECRET not in shown


@pytest.mark.parametrize("damage", [{"size_bytes": -1}, {"sealed_secrets": "s3cret"}, {"chap_user": "no spaces"}])
def test_the_error_about_a_malformed_reply_holds_no_secret(damage: dict[str, Any]) -> None:
    wire = json.dumps({"request_id": "12345678", "grants": [grant(**damage)]})
    with pytest.raises(ValidationError) as caught:
        BorrowReply.model_validate_json(wire)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        BorrowReply.model_validate_json(wire[:-1])
    assert "s3cret" not in str(caught.value)


def test_the_largest_borrow_reply_fits_into_one_payload() -> None:
    host = "h" * 63
    largest = grant(
        lease="l" * 63,
        lender=f"lender.{host}",
        portal=f"{host}.example.org:65535",
        target=f"iqn.2026-11.io.ramshare:{host}.{'l' * 63}",
        size_bytes=MAX_BYTES,
        chap_user="u" * 64,
        sealed_secrets="s" * 256,
    )
    reply = BorrowReply(request_id="r" * 64, sentence="ü" * 1000, grants=(Grant.model_validate(largest),) * 64)
    assert len(reply.to_json()) <= MAX_PAYLOAD_BYTES


def test_a_reply_is_good_unless_it_names_an_error() -> None:
    assert Reply(request_id="12345678").ok
    assert not Reply(request_id="12345678", error=ErrorCode.BUSY).ok


@pytest.mark.parametrize("request_id", ["short", "x" * 65, "white space", "../../x/y", "12345678\n"])
def test_a_request_id_is_safe_to_log_and_to_keep(request_id: str) -> None:
    with pytest.raises(ValidationError):
        Drain(request_id=request_id)


def test_messages_cannot_be_changed_after_they_were_made() -> None:
    status = Status(status="online")
    with pytest.raises(ValidationError):
        setattr(status, "status", "offline")  # noqa: B010 (mypy knows that it is frozen)


@pytest.mark.parametrize(
    ("kind", "field", "rest"),
    [
        (Reply, "sentence", {"request_id": "request-1"}),
        (Event, "sentence", {"kind": "step"}),
        (Offer, "reason", {key: value for key, value in offer().items() if key != "reason"}),
    ],
)
def test_a_sentence_shortens_itself_when_it_is_made_and_when_it_arrives(
    kind: type[Message], field: str, rest: dict[str, Any]
) -> None:
    fits, long = "x" * MAX_SENTENCE, "x" * (MAX_SENTENCE + 1)
    for made in (
        kind(**rest, **{field: long}),
        kind.model_validate_json(json.dumps({**rest, field: long}, default=str)),
    ):
        assert getattr(made, field) == "x" * (MAX_SENTENCE - 1) + "…"
    assert getattr(kind(**rest, **{field: fits}), field) == fits
    assert kind.model_json_schema()["properties"][field]["maxLength"] == MAX_SENTENCE


def test_a_line_of_many_shortens_itself_too() -> None:
    assert [len(line) for line in Decisions(decisions=("x" * 5000, "short")).decisions] == [MAX_SENTENCE, 5]
