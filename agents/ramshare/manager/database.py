"""The manager's database as anyone may read it: retained records of every lender and lease, and a summary. Pure.

The paper's fields (host address, target, capacity, exportable or not, borrower) for `ramshare status` and dashboards.
A record is made again when something changed that it speaks of, and at no other time.
"""

from collections.abc import Iterable
from heapq import nsmallest

from sortedcontainers import SortedSet

from ramshare.manager.candidates import Ranking
from ramshare.manager.cluster import Cluster, offer_of
from ramshare.manager.office import Seat
from ramshare.messages.base import MAX_BYTES, Message
from ramshare.messages.state import HostRecord, LeaseRecord, ManagerState
from ramshare.topics import name

ALONE = Seat(1)
"""Of a manager without another, for whoever asks for records only."""
AWAY_NAMED = 20
"""Of hosts that are away, in the summary."""
NAMES_SHOWN = 5
"""Of agents not heard yet; ten thousand names help nobody."""


class Database:
    """What is published, and the lenders in the order in which they are asked: both follow the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.ranking = Ranking()
        self.published: dict[str, Message] = {}
        """By state path, as of the last `changes`."""
        self._records: dict[str, Message] = {}
        """What is to be published while this manager is the active one."""
        self._wanted: set[str] = set()
        """Paths of those made again since."""
        self._shown = False
        self._there: dict[str, HostRecord] = {}
        """Of the lenders that may be asked: online, and not silent."""
        self._leases = 0
        self._totals = _Totals()

    def refresh(self, now_s: float) -> None:
        """Follow what changed in the cluster until now."""
        self._cluster.pass_time(now_s)
        hosts, leases = self._cluster.changed_hosts, self._cluster.changed_leases
        self._cluster.changed_hosts, self._cluster.changed_leases = set(), set()
        for host in hosts:
            self.ranking.update(self._cluster, f"lender.{host}", now_s)
            view = self._cluster.by_client.get(f"lender.{host}")
            there = view is not None and self._cluster.usable(view, now_s)
            self._set_host(host, host_record(self._cluster, host, now_s), there=there)
        for lease in leases:
            self._want(f"lease/{lease}", lease_record(self._cluster, lease))

    @property
    def free_bytes(self) -> int:
        """What all lenders together may lend, as of the last `refresh`; no loan can be larger."""
        return self._totals.free_bytes

    def changes(self, now_s: float, seat: Seat = ALONE, waiting: int = 0) -> dict[str, Message | None]:
        """Return path to message of what is to be published, None for what is no more, and take it as published.

        Only the active manager shows records; who stands by has them ready. `waiting`: requests that wait for memory.
        """
        self.refresh(now_s)
        wanted, self._wanted = self._wanted, set()
        if seat.active != self._shown:
            self._shown = seat.active
            wanted = (self._records.keys() | self.published.keys()) - {"summary"}
        changed: dict[str, Message | None] = {}
        for path in wanted:
            message = self._records.get(path) if self._shown else None
            if not same(message, self.published.get(path)):
                changed[path] = message
                self._leases += path.startswith("lease/") * ((message is not None) - (path in self.published))
                self._note_published(path, message)
        summary = self._totals.summary(self._cluster, seat, self._leases, waiting)
        if not same(summary, self.published.get("summary")):
            changed["summary"] = self.published["summary"] = summary
        return changed

    def _note_published(self, path: str, message: Message | None) -> None:
        if message is None:
            self.published.pop(path, None)
        else:
            self.published[path] = message

    def _set_host(self, host: str, record: HostRecord | None, *, there: bool) -> None:
        self._totals.add(self._there.pop(host, None), -1)
        self._totals.away.discard(host)
        if record is not None and there:
            self._there[host] = record
            self._totals.add(record, +1)
        elif record is not None:
            self._totals.away.add(host)
        self._want(f"host/{host}", record)

    def _want(self, path: str, message: Message | None) -> None:
        if message is not None:
            self._records[path] = message
        elif self._records.pop(path, None) is None:
            return
        self._wanted.add(path)


class _Totals:
    """Sums over the hosts that are there, and which are not."""

    def __init__(self) -> None:
        self.lenders = self.capacity_bytes = self.lent_bytes = self.free_bytes = 0
        self.away: SortedSet = SortedSet()

    def add(self, record: HostRecord | None, step: int) -> None:
        """Count a host, or count it no more."""
        if record is None:
            return
        self.lenders += step
        self.capacity_bytes += step * record.capacity_bytes
        self.lent_bytes += step * record.lent_bytes
        self.free_bytes += step * record.free_bytes * record.exportable

    def summary(self, cluster: Cluster, seat: Seat, leases: int, waiting: int) -> ManagerState:
        """Return what the cluster is in sum."""
        return ManagerState(
            ready=cluster.settled,
            active=seat.active,
            generation=seat.generation,
            lenders=self.lenders,
            borrowers=len(cluster.presence.borrowers_online),
            leases=leases,
            waiting=waiting,
            capacity_bytes=min(MAX_BYTES, self.capacity_bytes),
            lent_bytes=min(MAX_BYTES, self.lent_bytes),
            free_bytes=min(MAX_BYTES, self.free_bytes),
            agents=len(cluster.presence.online),
            heard=len(cluster.presence.online) - len(cluster.presence.unheard),
            incomplete=len(cluster.gaps),
            away=len(self.away),
            away_hosts=tuple(self.away[:AWAY_NAMED]),
            reason=_state_of(cluster, seat),
        )


def _state_of(cluster: Cluster, seat: Seat) -> str:
    if not cluster.settled:
        return f"listening; {not_heard(cluster)}"
    if seat.active:
        return f"serving; {not_heard(cluster)}" if cluster.presence.unheard else "serving"
    return f"standing by: {seat.active_one} makes loans" if seat.active_one else "listening for other managers"


def not_heard(cluster: Cluster) -> str:
    """Say who has yet to be heard: how many, and the first names."""
    unheard = cluster.presence.unheard
    names = ", ".join(nsmallest(NAMES_SHOWN, unheard))
    more = f" and {len(unheard) - NAMES_SHOWN} more" if len(unheard) > NAMES_SHOWN else ""
    return f"{len(unheard)} not heard yet{': ' if names else ''}{names}{more}"


def host_record(cluster: Cluster, host: str, now_s: float) -> HostRecord | None:
    """Return the record of a host whose lender made an offer."""
    view = cluster.by_client.get(f"lender.{host}")
    offer = offer_of(view) if view is not None else None
    if view is None or offer is None:
        return None
    usable, borrows = cluster.usable(view, now_s), cluster.borrows(host)
    reason = offer.reason if usable else "not heard of lately" if view.online else "offline"
    return HostRecord(
        host=host,
        lender=view.client,
        address=offer.portal,
        online=view.online,
        exportable=usable and offer.exportable and not borrows,
        capacity_bytes=offer.capacity_bytes,
        lent_bytes=offer.lent_bytes,
        free_bytes=offer.free_bytes,
        reason="its own swap is remote" if borrows else reason,
    )


def lease_record(cluster: Cluster, lease: str) -> LeaseRecord | None:
    """Return the record of a lease; of two lenders that show it, that of which more than they know."""
    shown = cluster.exports_of_lease(lease)
    if not shown:
        return None
    lender, export = max(shown, key=lambda x: (cluster.vouched(*x), x[0]))
    return LeaseRecord(
        lease=export.lease,
        host=name(lender),
        address=export.portal,
        target=export.target,
        size_bytes=export.size_bytes,
        borrower=export.borrower,
        mode=export.mode,
        leg=export.leg,
        phase=export.phase,
    )


def same(one: Message | None, other: Message | None) -> bool:
    """Whether two messages say the same, whoever sent them when."""
    if one is None or other is None:
        return one is other
    ignored = {"instance", "seq", "at"}
    return type(one) is type(other) and one.model_dump(exclude=ignored) == other.model_dump(exclude=ignored)


def bounded(sizes: Iterable[int]) -> int:
    """Sum sizes that others claim, up to what a message may hold."""
    return min(MAX_BYTES, sum(sizes))
