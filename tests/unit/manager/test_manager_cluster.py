"""What the manager believes of whom: only what is fresh, current and about itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.strategies import any_message
from ramshare.bus.api import StateArrived
from ramshare.manager.cluster import SHOWN_WITHIN_S, Cluster, offer_of
from ramshare.manager.database import Database, host_record, lease_record, same
from ramshare.messages.base import MAX_BYTES, Message
from ramshare.messages.names import target_of
from ramshare.messages.state import (
    Export,
    HostRecord,
    Lease,
    LeasePhase,
    LeaseRecord,
    ManagerState,
    Mode,
    Offer,
    Status,
)
from ramshare.retained import STALE_AFTER_S

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def status(word: str = "online") -> Status:
    return Status.model_validate({"status": word})


def offer(**changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "host": "a",
        "portal": "10.0.0.1:3260",
        "capacity_bytes": 100,
        "lent_bytes": 0,
        "free_bytes": 100,
        "exportable": True,
        "reason": "spare",
    }
    return Offer.model_validate({**fields, **changes})


def export(lease: str = "l1", **changes: Any) -> Export:
    fields: dict[str, Any] = {
        "lease": lease,
        "host": "a",
        "borrower": "borrower.b",
        "initiator": "iqn.2026-11.test:b",
        "target": target_of("a", lease),
        "portal": "10.0.0.1:3260",
        "size_bytes": 10,
        "mode": Mode.MIRROR,
        "phase": LeasePhase.EXPORTED,
        "connected": False,
        "created_at": NOW,
        "login_by": NOW + timedelta(seconds=60),
    }
    return Export.model_validate({**fields, **changes})


def lease(lease: str = "l1") -> Lease:
    return Lease(
        lease=lease, lender="lender.a", volume="vg/swap", size_bytes=1, mode=Mode.MOVE, phase=LeasePhase.ATTACHED
    )


class Told:
    """A cluster, and shorthand to tell it things."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.database = Database(self.cluster)
        self.now_s = 1000.0
        self._seq = 0

    def hear(
        self,
        client: str,
        path: str,
        message: Message | None,
        *,
        replay: bool = False,
        instance: str = "i1",
        expires_s: float | None = None,
    ) -> None:
        self._seq += 1
        stamped = message.stamped(instance, self._seq, NOW) if message is not None else None
        self.cluster.take(StateArrived(client, path, stamped, replay, expires_s), self.now_s)

    def borrowing(self) -> set[str]:
        return {host for host in "abc" if self.cluster.borrows(host)}

    def host(self, host: str) -> HostRecord:
        found = host_record(self.cluster, host, self.now_s)
        assert found is not None
        return found

    def lease(self, lease: str) -> LeaseRecord:
        found = lease_record(self.cluster, lease)
        assert found is not None
        return found

    def summary(self) -> ManagerState:
        self.database.changes(self.now_s)
        found = self.database.published["summary"]
        assert isinstance(found, ManagerState)
        return found

    def usable(self, client: str = "lender.a") -> bool:
        return self.cluster.usable(self.cluster.by_client[client], self.now_s)


def test_what_the_broker_replays_makes_an_agent_known_but_not_trusted() -> None:
    told = Told()
    told.hear("lender.a", "status", status(), replay=True)
    told.hear("lender.a", "offer", offer(), replay=True)
    assert not told.usable()
    assert told.cluster.unheard() == ["lender.a"]
    told.hear("lender.a", "status", status())
    assert told.usable()
    assert told.cluster.unheard() == []


@pytest.mark.parametrize(("left_s", "trusted_for_s"), [(180.0, 150.0), (100.0, 100.0), (1.0, 1.0)])
def test_a_stored_heartbeat_counts_for_as_long_as_the_broker_would_keep_it(left_s: float, trusted_for_s: float) -> None:
    told = Told()
    told.hear("lender.a", "status", status(), replay=True, expires_s=left_s)
    told.now_s += trusted_for_s
    assert told.usable()
    assert told.cluster.to_confirm("lender.a"), "before memory of it is lent"
    told.now_s += 1
    assert not told.usable()


def test_who_does_not_answer_is_not_believed_and_not_asked_again_before_it_speaks() -> None:
    told = Told()
    told.hear("lender.a", "status", status(), replay=True, expires_s=100.0)
    told.cluster.confirm("lender.a", float("-inf"))
    assert not told.usable()
    assert not told.cluster.to_confirm("lender.a")
    told.hear("lender.a", "offer", offer())
    assert told.usable()


def test_nobody_waits_for_guests_operators_or_the_dead() -> None:
    told = Told()
    for client in ("guest.web1", "cli.al", "dashboard"):
        told.hear(client, "status", status(), replay=True)
    told.hear("lender.a", "status", status("offline"), replay=True)
    assert told.cluster.unheard() == []
    assert set(told.cluster.by_client) == {"lender.a"}, "a hundred thousand guests are the lenders' business"


def test_an_agent_that_is_silent_for_two_heartbeats_is_not_asked() -> None:
    told = Told()
    told.hear("lender.a", "status", status())
    told.now_s += STALE_AFTER_S
    assert told.usable()
    told.now_s += 1
    assert not told.usable()
    told.hear("lender.a", "offer", offer())
    assert told.usable()


def test_an_agent_whose_will_was_published_is_not_asked() -> None:
    told = Told()
    told.hear("lender.a", "status", status())
    told.hear("lender.a", "status", status("offline"))
    assert not told.usable()


def test_after_a_cut_everybody_is_asked_again_before_a_loan_counts_on_him() -> None:
    told = Told()
    told.hear("lender.a", "status", status())
    assert not told.cluster.to_confirm("lender.a")
    told.cluster.doubt()
    assert told.cluster.to_confirm("lender.a")
    assert told.cluster.unheard() == ["lender.a"]


def test_the_offer_of_an_earlier_run_is_nobodys_word() -> None:
    told = Told()
    told.hear("lender.a", "offer", offer(), replay=True, instance="old")
    told.hear("lender.a", "status", status(), instance="new")
    assert offer_of(told.cluster.by_client["lender.a"]) is None
    assert host_record(told.cluster, "a", told.now_s) is None
    told.hear("lender.a", "offer", offer(free_bytes=7), instance="new")
    found = offer_of(told.cluster.by_client["lender.a"])
    assert found is not None
    assert found.free_bytes == 7


def test_a_cleared_topic_is_forgotten_and_an_agent_with_none_left_too() -> None:
    told = Told()
    told.hear("lender.a", "status", status())
    told.hear("lender.a", "export/l1", export())
    told.hear("lender.a", "export/l1", None)
    assert told.cluster.exports_to("borrower.b") == []
    told.hear("lender.a", "status", None)
    assert told.cluster.by_client == {}


def test_an_export_that_names_another_lease_than_its_topic_is_ignored() -> None:
    told = Told()
    told.hear("lender.a", "status", status())
    told.hear("lender.a", "export/l1", export("l2"))
    told.hear("borrower.b", "lease/l1", lease("l2"))
    assert told.cluster.exports_to("borrower.b") == []
    assert not told.borrowing()


def test_a_host_borrows_by_its_own_word_or_our_grant_and_by_no_lenders() -> None:
    told = Told()
    told.hear("borrower.b", "lease/l1", lease())
    told.hear("lender.a", "export/l7", export("l7", borrower="borrower.c"))
    assert told.borrowing() == {"b"}
    assert told.cluster.lends("a")
    told.cluster.grant("lender.a", "l7", "borrower.c", told.now_s)
    assert told.borrowing() == {"b", "c"}
    told.hear("lender.a", "export/l7", None)
    told.cluster.forget_grants(told.now_s + SHOWN_WITHIN_S + 1)
    told.hear("lender.a", "export/l7", export("l7", borrower="borrower.c"))
    assert told.borrowing() == {"b"}, "a grant is spent when its lease is gone"


@pytest.mark.parametrize("changes", [{"host": "c"}, {"target": target_of("c", "l1")}, {"target": "iqn.2026-11.x:a.l1"}])
def test_a_lender_speaks_of_its_own_host_only(changes: dict[str, str]) -> None:
    told = Told()
    told.hear("lender.a", "status", status())
    told.hear("lender.a", "export/l1", export(**changes))
    told.hear("lender.a", "offer", offer(host="c"))
    assert told.cluster.exports_to("borrower.b") == []
    assert told.cluster.portal_of("lender.a") is None


def test_a_lease_that_two_lenders_show_is_his_of_whom_its_borrower_says_so() -> None:
    told = Told()
    for host in ("a", "z"):
        told.hear(f"lender.{host}", "status", status())
        told.hear(f"lender.{host}", "export/l1", export(host=host, target=target_of(host, "l1")))
    told.hear("borrower.b", "lease/l1", lease())
    assert told.lease("l1").host == "a"
    assert told.cluster.held_by("borrower.b") == {("lender.a", "l1"): 10}


def test_the_database_tells_the_papers_fields_and_why_not() -> None:
    told = Told()
    told.hear("lender.a", "status", status())
    told.hear("lender.a", "offer", offer())
    told.hear("lender.a", "export/l1", export())
    host = told.host("a")
    assert (host.address, host.exportable, host.capacity_bytes, host.reason) == ("10.0.0.1:3260", True, 100, "spare")
    record = told.lease("l1")
    assert (record.host, record.borrower, record.target) == ("a", "borrower.b", target_of("a", "l1"))

    told.hear("borrower.a", "lease/l9", lease("l9"))
    told.now_s += STALE_AFTER_S + 1
    host = told.host("a")
    assert not host.exportable
    assert "swap is remote" in host.reason


def test_claims_that_add_up_to_more_than_a_message_holds_do_not_break_the_summary() -> None:
    told = Told()
    for client in ("lender.a", "lender.c"):
        told.hear(client, "status", status())
        told.hear(client, "offer", offer(capacity_bytes=MAX_BYTES, free_bytes=MAX_BYTES))
    summary = told.summary()
    assert summary.capacity_bytes == MAX_BYTES


def test_a_thousand_silent_agents_do_not_break_the_summary() -> None:
    told = Told()
    for number in range(1000):
        told.hear(f"lender.host{number}", "status", status(), replay=True)
    summary = told.summary()
    assert "1000 not heard" in summary.reason


def test_two_messages_say_the_same_whoever_sent_them_when() -> None:
    assert same(offer().stamped("i1", 1, NOW), offer().stamped("i2", 9, NOW + timedelta(days=1)))
    assert not same(offer(), offer(free_bytes=1))
    assert not same(offer(), None)
    assert not same(offer(), status())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["lender.a", "lender.b", "borrower.a", "borrower.b", "guest.g"]),
            any_message([Status, Offer, Export, Lease]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_whatever_agents_claim_the_database_can_be_told(
    claims: list[tuple[str, Message, bool, bool]],
) -> None:
    told = Told()
    for client, message, replay, clear in claims:
        path = {"offer/1": "offer", "status/1": "status"}.get(message.KIND, "")
        if isinstance(message, Export | Lease):
            path = f"{'export' if isinstance(message, Export) else 'lease'}/{message.lease}"
        told.hear(client, path, None if clear else message, replay=replay)
        told.now_s += 7
        told.summary()
