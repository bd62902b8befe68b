"""What the manager says that it granted is checked before anything is logged in to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.borrower.plan.granted import not_as_needed
from ramshare.messages.names import target_of
from ramshare.messages.replies import Grant
from ramshare.messages.requests import BorrowMemory
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

MIB = 1 << 20


def grant(host: str = "x", lease: str = "l1", mib: int = 48, **changes: Any) -> Grant:
    fields: dict[str, Any] = {
        "lease": lease,
        "lender": f"lender.{host}",
        "portal": "10.0.0.1:3260",
        "target": target_of(host, lease),
        "size_bytes": mib * MIB,
        "chap_user": lease,
        "sealed_secrets": "secret-of-lease",
    }
    return Grant.model_validate({**fields, **changes})


def need(mib: int = 40, **changes: Any) -> BorrowMemory:
    fields: dict[str, Any] = {"overhead_bytes": 8 * MIB, "mode": Mode.MIRROR, "initiator": "iqn.2026-11.test:b"}
    return BorrowMemory(volume="vg0/swap", size_bytes=mib * MIB, **{**fields, **changes})


def test_what_was_asked_for_is_taken() -> None:
    assert not_as_needed([grant()], need(), "b") == ""
    assert not_as_needed([grant(mib=28), grant("y", "l2", mib=28)], need(), "b") == ""


@pytest.mark.parametrize(
    ("grants", "why"),
    [
        ([grant(target=target_of("y", "l1"))], "not how lender.x calls l1"),
        ([grant(target="iqn.2001-04.com.example:storage.l1")], "not how lender.x calls l1"),
        ([grant(portal="127.0.0.1:3260")], "no other host's address"),
        ([grant(portal="[::1]:3260")], "no other host's address"),
        ([grant(portal="[::ffff:127.0.0.1]:3260")], "no other host's address"),
        ([grant(portal="0.0.0.0:3260")], "no other host's address"),
        ([grant(portal="[ff02::1]:3260")], "no other host's address"),
        ([grant(lender="guest.x")], "no lender"),
        ([grant("b")], "own lender"),
        ([grant("shunned")], "not to be asked"),
        ([grant(mib=8)], "holds nothing"),
        ([grant(), grant()], "one lease twice"),
        ([grant(mib=1 << 30)], "room for"),
        ([grant(mib=20)], "room for"),
        ([], "room for 0 bytes"),
    ],
)
def test_what_was_not_asked_for_is_refused_with_its_reason(grants: list[Grant], why: str) -> None:
    assert why in not_as_needed(grants, need(exclude=("lender.shunned",)), "b")


@given(shares=st.lists(st.integers(1, 500), min_size=1, max_size=20), short=st.integers(0, 20_000))
def test_leases_that_carry_less_than_the_volume_are_never_taken(shares: list[int], short: int) -> None:
    grants = [grant(lease=f"l{i}", mib=8 + 4 * mib) for i, mib in enumerate(shares)]
    payload_mib = sum(4 * mib for mib in shares)
    assert not_as_needed(grants, need(payload_mib), "b") == ""
    assert bool(not_as_needed(grants, need(payload_mib + short), "b")) == (short > 0)


def test_each_leg_of_a_pair_is_what_was_asked_for_and_has_lenders_of_its_own() -> None:
    legs = [grant(leg=1), grant("y", "l2", leg=2)]
    pair = need(mode=Mode.PAIR)
    assert not_as_needed(legs, pair, "b") == ""
    assert not_as_needed(legs[1:], need(mode=Mode.PAIR, leg=2), "b") == ""
    assert "room for 0 bytes" in not_as_needed(legs[:1], pair, "b")
    assert "one lender in both legs" in not_as_needed([grant(leg=1), grant(lease="l2", leg=2)], pair, "b")
    assert "for a leg that was not asked for" in not_as_needed(legs, need(mode=Mode.PAIR, leg=2), "b")
    assert "for a leg that was not asked for" in not_as_needed([grant(leg=1)], need(), "b")
