"""The manager's database as anyone may read it: retained records of every lender and lease, and a summary. Pure.

The paper's fields (host address, target, capacity, exportable or not, borrower) for `ramshare status` and dashboards.
"""

from collections.abc import Iterable

from ramshare.manager.cluster import Cluster, offer_of
from ramshare.messages.base import MAX_BYTES, Message
from ramshare.messages.state import HostRecord, LeaseRecord, ManagerState
from ramshare.topics import name


def records(cluster: Cluster, now_s: float) -> dict[str, Message]:
    """Return what the manager publishes now, by state path."""
    hosts, leases = host_records(cluster, now_s), lease_records(cluster)
    found: dict[str, Message] = {f"host/{host}": record for host, record in hosts.items()}
    found |= {f"lease/{lease}": record for lease, record in leases.items()}
    found["summary"] = _summary(cluster, [host for host in hosts.values() if host.online], len(leases))
    return found


def host_records(cluster: Cluster, now_s: float) -> dict[str, HostRecord]:
    """Return the record of every lender that made an offer, by host."""
    found, borrowing = {}, cluster.borrowing_hosts()
    for view in cluster.lenders():
        offer, host = offer_of(view), name(view.client)
        if offer is None:
            continue
        usable = cluster.usable(view, now_s)
        reason = offer.reason if usable else "not heard of lately" if view.online else "offline"
        found[host] = HostRecord(
            host=host,
            lender=view.client,
            address=offer.portal,
            online=view.online,
            exportable=usable and offer.exportable and host not in borrowing,
            capacity_bytes=offer.capacity_bytes,
            lent_bytes=offer.lent_bytes,
            free_bytes=offer.free_bytes,
            reason="its own swap is remote" if host in borrowing else reason,
        )
    return found


def lease_records(cluster: Cluster) -> dict[str, LeaseRecord]:
    """Return the record of every lease, by id; of two lenders that show one, that of which more than they know."""
    exports = sorted(cluster.exports(), key=lambda shown: cluster.vouched(shown[0].client, shown[1]))
    return {
        export.lease: LeaseRecord(
            lease=export.lease,
            host=name(view.client),
            address=export.portal,
            target=export.target,
            size_bytes=export.size_bytes,
            borrower=export.borrower,
            mode=export.mode,
            phase=export.phase,
        )
        for view, export in exports
    }


def same(one: Message, other: Message | None) -> bool:
    """Whether two messages say the same, whoever sent them when."""
    ignored = {"instance", "seq", "at"}
    return type(one) is type(other) and one.model_dump(exclude=ignored) == other.model_dump(exclude=ignored)


def bounded(sizes: Iterable[int]) -> int:
    """Sum sizes that others claim, up to what a message may hold."""
    return min(MAX_BYTES, sum(sizes))


def _summary(cluster: Cluster, hosts: list[HostRecord], leases: int) -> ManagerState:
    unheard = cluster.unheard()
    listening = f"listening; {len(unheard)} not heard yet: {', '.join(unheard)}"
    return ManagerState(
        ready=cluster.settled,
        lenders=len(hosts),
        borrowers=sum(1 for view in cluster.borrowers() if view.online),
        leases=leases,
        capacity_bytes=bounded(host.capacity_bytes for host in hosts),
        lent_bytes=bounded(host.lent_bytes for host in hosts),
        free_bytes=bounded(host.free_bytes for host in hosts if host.exportable),
        reason="serving" if cluster.settled else listening,
    )
