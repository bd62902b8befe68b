"""The manager's index says what looking at everybody would say, whatever happens; and its work does not grow."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kit.plain_manager import PlainManager
from ramshare.bus.api import RequestArrived, StateArrived
from ramshare.manager.candidates import candidates
from ramshare.manager.cluster import SHOWN_WITHIN_S, Cluster
from ramshare.manager.database import Database, same
from ramshare.manager.loans import Loan
from ramshare.manager.placement import Share, place
from ramshare.manager.pledges import Pledges
from ramshare.messages.base import Message
from ramshare.messages.names import target_of
from ramshare.messages.requests import BorrowMemory
from ramshare.messages.state import Export, Lease, LeasePhase, ManagerState, Mode, Offer, Status
from ramshare.retained import STALE_AFTER_S

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 22, tzinfo=UTC)
HOSTS = ("a", "b", "c")
LEASES = ("l1", "l2")
host_names, lease_ids, modes = st.sampled_from(HOSTS), st.sampled_from(LEASES), st.sampled_from(Mode)
sizes = st.integers(1, 50)


def borrow(borrower: str, size_bytes: int, mode: Mode = Mode.MIRROR, spread: int = 1) -> Loan:
    request = BorrowMemory(
        volume="vg/swap", size_bytes=size_bytes, grain_bytes=1, mode=mode, initiator="iqn.x:y", min_lenders=spread
    )
    return Loan(RequestArrived(borrower, "borrow", request, b""), least_lease_bytes=1)


def offer(host: str, free_bytes: int, committed_bytes: int = 0, *, exportable: bool = True) -> Offer:
    return Offer(
        host=host,
        portal="10.0.0.1:3260",
        capacity_bytes=60,
        lent_bytes=0,
        free_bytes=free_bytes,
        committed_bytes=committed_bytes,
        committed_free_bytes=committed_bytes,
        exportable=exportable,
        reason="spare",
    )


def export(host: str, lease: str, borrower: str, size_bytes: int, mode: Mode, *, connected: bool = True) -> Export:
    return Export(
        lease=lease,
        host=host,
        borrower=borrower,
        initiator="iqn.x:y",
        target=target_of(host, lease),
        portal="10.0.0.1:3260",
        size_bytes=size_bytes,
        mode=mode,
        phase=LeasePhase.ATTACHED,
        connected=connected,
        created_at=AT,
        login_by=AT + timedelta(seconds=60),
    )


class AnyCourse(RuleBasedStateMachine):
    """Agents speak, are cut off, vanish, claim each other's leases; loans begin and end; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.database = Database(self.cluster)
        self.plain = PlainManager(self.cluster)
        self.pledges = Pledges()
        self.published: dict[str, Message] = {}
        self.now_s = 1000.0
        self.seq = 0

    def hear(self, client: str, path: str, message: Message | None, *, replay: bool = False, run: str = "i1") -> None:
        self.seq += 1
        stamped = message.stamped(run, self.seq, AT) if message is not None else None
        self.cluster.take(StateArrived(client, path, stamped, replay), self.now_s)

    @rule(role=st.sampled_from(["lender", "borrower", "guest"]), host=host_names, online=st.booleans(),
          replay=st.booleans(), run=st.sampled_from(["i1", "i2"]))  # fmt: skip
    def status(self, role: str, host: str, online: bool, replay: bool, run: str) -> None:
        self.hear(f"{role}.{host}", "status", Status(status="online" if online else "offline"), replay=replay, run=run)

    @rule(host=host_names, free=st.integers(0, 60), committed=st.integers(0, 60), exportable=st.booleans())
    def offers(self, host: str, free: int, committed: int, exportable: bool) -> None:
        self.hear(f"lender.{host}", "status", Status(status="online"))
        self.hear(f"lender.{host}", "offer", offer(host, free, committed, exportable=exportable))

    @rule(host=host_names, lease=lease_ids, borrower=host_names, size=sizes, mode=modes, connected=st.booleans())
    def exports(self, host: str, lease: str, borrower: str, size: int, mode: Mode, connected: bool) -> None:
        shown = export(host, lease, f"borrower.{borrower}", size, mode, connected=connected)
        self.hear(f"lender.{host}", f"export/{lease}", shown)

    @rule(host=host_names, lease=lease_ids, lender=host_names, size=sizes)
    def borrows(self, host: str, lease: str, lender: str, size: int) -> None:
        held = Lease(
            lease=lease,
            lender=f"lender.{lender}",
            volume="vg/swap",
            size_bytes=size,
            mode=Mode.MIRROR,
            phase=LeasePhase.ATTACHED,
        )
        self.hear(f"borrower.{host}", f"lease/{lease}", held)

    @rule(host=host_names, what=st.sampled_from(["status", "offer", *(f"export/{x}" for x in LEASES)]))
    def lender_clears(self, host: str, what: str) -> None:
        self.hear(f"lender.{host}", what, None)

    @rule(host=host_names, what=st.sampled_from(["status", *(f"lease/{x}" for x in LEASES)]))
    def borrower_clears(self, host: str, what: str) -> None:
        self.hear(f"borrower.{host}", what, None)

    @rule(host=host_names, lease=lease_ids, borrower=host_names)
    def grants(self, host: str, lease: str, borrower: str) -> None:
        for manager in (self.cluster, self.plain):
            manager.grant(f"lender.{host}", lease, f"borrower.{borrower}", self.now_s)

    @rule(which=st.integers(0, 5))
    def grants_what_is_shown(self, which: int) -> None:
        for view, shown in self.plain.exports()[which : which + 1]:
            for manager in (self.cluster, self.plain):
                manager.grant(view.client, shown.lease, shown.borrower, self.now_s)

    @rule(seconds=st.sampled_from([1.0, SHOWN_WITHIN_S + 1, STALE_AFTER_S - 1, STALE_AFTER_S, STALE_AFTER_S + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        for manager in (self.cluster, self.plain):
            manager.forget_grants(self.now_s)

    @rule()
    def the_connection_breaks(self) -> None:
        self.cluster.doubt()

    @rule()
    def everybody_was_heard(self) -> None:
        self.cluster.settle()

    @rule(host=host_names, size=sizes, mode=modes, lender=host_names)
    def a_loan_begins(self, host: str, size: int, mode: Mode, lender: str) -> None:
        loan = borrow(f"borrower.{host}", size, mode)
        self.pledges.begin(loan)
        lease, share = loan.new_lease(), Share(f"lender.{lender}", size)
        loan.waiting[lease] = share
        self.pledges.add(loan, lease, share)

    @rule(refused=st.booleans())
    def a_loan_goes_on(self, refused: bool) -> None:
        for loan in self.pledges.loans[:1]:
            if refused and loan.waiting:
                lease, share = loan.waiting.popitem()
                self.pledges.drop(share.lender, lease)
            else:
                self.pledges.end(loan)

    # --- what must be the same

    @invariant()
    def the_database_is_what_looking_at_everybody_shows(self) -> None:
        for path, message in self.database.changes(self.now_s).items():
            assert not same(message, self.published.get(path)), "told twice"
            if message is None:
                del self.published[path]
            else:
                self.published[path] = message
        wanted = self.plain.records(self.now_s)
        assert self.published.keys() == wanted.keys()
        for path, message in wanted.items():
            shown = self.published[path]
            if isinstance(shown, ManagerState):
                shown = shown.model_copy(
                    update={"reason": "", "generation": 0, "agents": 0, "heard": 0, "incomplete": 0}
                )
            assert same(shown, message), path

    @invariant()
    def the_answers_are_those_of_looking_at_everybody(self) -> None:
        assert {host for host in HOSTS if self.cluster.borrows(host)} == self.plain.borrowing_hosts()
        assert {host for host in HOSTS if self.cluster.lends(host)} == self.plain.lending_hosts()
        assert self.cluster.unheard() == self.plain.unheard()
        for host in HOSTS:
            borrower = f"borrower.{host}"
            assert self.cluster.held_by(borrower) == self.plain.held_by(borrower)
            wanted = [(view.client, shown) for view, shown in self.plain.exports() if shown.borrower == borrower]
            assert self.cluster.exports_to(borrower) == sorted(wanted, key=lambda x: (x[0], x[1].lease))
        unconnected = {(view.client, x.lease): x for view, x in self.plain.exports() if not x.connected}
        assert self.cluster.unconnected == unconnected

    @invariant()
    def the_same_lenders_are_chosen(self) -> None:
        self.database.refresh(self.now_s)
        for mode in Mode:
            for spread in (1, 2):
                loan = borrow("borrower.a", 30, mode, spread)
                for committed in (False, True):
                    fast = candidates(self.cluster, self.database.ranking, loan, self.pledges, committed=committed)
                    slow = self.plain.candidates(loan, self.pledges.loans, self.now_s, committed=committed)
                    assert place(loan.missing(), fast) == place(loan.missing(), slow)


AnyCourse.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyCourse = pytest.mark.timeout(400)(AnyCourse.TestCase)  # on a busy machine


# ---- its work does not grow


class CountingCluster(Cluster):
    """Counts how many clients are looked at, which is what grew with the cluster."""

    looked_at = 0

    def usable(self, view: object, now_s: float) -> bool:
        CountingCluster.looked_at += 1
        return super().usable(view, now_s)  # type: ignore[arg-type]


def _cluster_of(hosts: int) -> Iterator[tuple[CountingCluster, Database]]:
    cluster = CountingCluster()
    database = Database(cluster)
    for number in range(hosts):
        host = f"h{number:05}"
        for path, message in (("status", Status(status="online")), ("offer", offer(host, 60 - number % 7))):
            cluster.take(StateArrived(f"lender.{host}", path, message.stamped("i1", 1, AT), False), 0.0)
    cluster.settle()
    database.changes(0.0)
    yield cluster, database


@pytest.mark.parametrize("hosts", [30, 3000])
def test_an_arrival_and_a_request_look_at_few_whatever_the_size_of_the_cluster(hosts: int) -> None:
    ((cluster, database),) = _cluster_of(hosts)
    CountingCluster.looked_at = 0
    changed = offer("h00007", 13).stamped("i1", 2, AT)
    cluster.take(StateArrived("lender.h00007", "offer", changed, False), 1.0)
    assert set(database.changes(1.0)) == {"host/h00007", "summary"}
    found = candidates(cluster, database.ranking, borrow("borrower.x", 10), Pledges(), committed=False)
    assert found[0].free_bytes == 60
    assert len(found) <= 64
    assert CountingCluster.looked_at < 10


def test_a_heartbeat_changes_no_record() -> None:
    ((cluster, database),) = _cluster_of(50)
    beat = Status(status="online").stamped("i1", 3, AT)
    cluster.take(StateArrived("lender.h00007", "status", beat, False), 60.0)
    assert database.changes(60.0) == {}
