"""Who stores more at the hosts' broker than any account needs is revoked, and nobody else is."""

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.broker import guard, keeper
from ramshare.broker.cluster import Cluster
from ramshare.broker.store import Store
from ramshare.broker.stored import MOST_BYTES, TOPIC_BYTES, Stored
from ramshare.bus.api import BrokerUnreachableError
from ramshare.settings import BrokerSettings

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STATE = "ramshare/v1/state"
KIB60 = 60 << 10


class Broker:
    """A broker at which things get stored, and which is away at first."""

    def __init__(self, stored: list[tuple[str, int]]) -> None:
        self.calls: list[str] = []
        self._stored = stored
        self._away = True

    def restart(self, which: str) -> str:
        self.calls.append(f"restart {which}")
        return ""

    def clear_state(self, settings: BrokerSettings, client: str) -> list[str]:
        self.calls.append(f"clear {client}")
        return [f"{STATE}/{client}/export/l1"]

    def until_stored(self, settings: BrokerSettings, note: Callable[[str, int], str]) -> str:
        assert settings.client == "broker.guard"
        if self._away:
            self._away = False
            raise BrokerUnreachableError("no broker")
        return next(found for topic, size in self._stored if (found := note(topic, size)))


def first_over(told: Iterable[tuple[str, int]], most_bytes: int = MOST_BYTES) -> str:
    stored = Stored(most_bytes=most_bytes)
    return next((found for topic, size in told if (found := stored.note(topic, size))), "")


def test_it_waits_for_the_broker_revokes_the_culprit_and_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "broker", durable=False)
    keeper.init(store, Cluster(accounts=("lender.hosta", "lender.hostb", "manager"), data=str(tmp_path)), NOW)
    broker, said = Broker([(f"{STATE}/lender.hosta/export/l{n}", KIB60) for n in range(300)]), list[str]()
    guard.watch(store, broker, lambda: NOW, said.append, wait=lambda _s: None)
    assert broker.calls == ["restart hosts", "clear lender.hosta"]
    assert said[0] == "no broker"
    assert "lender.hosta is revoked" in said
    cluster, _ = store.load()
    assert cluster.accounts == ("lender.hostb", "manager")


@pytest.mark.parametrize(
    ("client", "path"), [("lender.a", "export/l"), ("borrower.a", "lease/l"), ("borrower.a", "volume/vg0/v")]
)
@pytest.mark.parametrize("size", [1, KIB60])
def test_many_topics_are_too_much_whatever_their_size(client: str, path: str, size: int) -> None:
    topics = ((f"{STATE}/{client}/{path}{n}", size) for n in itertools.count())
    assert first_over(topics, most_bytes=1 << 20) == client


def test_a_topic_that_is_written_again_and_again_counts_once() -> None:
    assert first_over([(f"{STATE}/lender.a/offer", KIB60)] * 1000) == ""


def test_what_was_cleared_counts_no_more() -> None:
    assert first_over([(f"{STATE}/lender.a/export/l{n}", size) for n in range(1000) for size in (KIB60, 0)]) == ""


def test_a_lender_with_ten_thousand_leases_is_left_alone() -> None:
    assert first_over([(f"{STATE}/lender.a/export/l{n:012}", 700) for n in range(10_000)]) == ""


def test_the_manager_and_foreign_topics_do_not_count() -> None:
    names = (f"{STATE}/manager/host/h", "other/v1/state/lender.a/export/l", "ramshare/v1/event/lender.a/export/l")
    assert first_over([(f"{name}{n}", KIB60) for name in names for n in range(400)]) == ""


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["lender.a", "borrower.b"]), st.integers(0, 9), st.sampled_from([0, 1, MOST_BYTES // 4])
        )
    )
)
def test_an_account_is_named_exactly_when_what_it_has_stored_is_too_much(steps: list[tuple[str, int, int]]) -> None:
    stored, held = Stored(), dict[str, int]()
    for client, number, size in steps:
        topic = f"{STATE}/{client}/lease/{number}"
        held[topic] = size + len(topic) + TOPIC_BYTES if size else 0
        mine = sum(amount for name, amount in held.items() if f"/{client}/" in name)
        assert stored.note(topic, size) == (client if mine > MOST_BYTES else "")
