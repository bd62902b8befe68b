"""The manager's questions answered the obvious way, by looking at everybody each time: what the fast one is held to."""

from collections.abc import Collection, Iterator

from ramshare.manager.candidates import free_bytes_of
from ramshare.manager.cluster import SHOWN_WITHIN_S, Cluster, offer_of
from ramshare.manager.loans import Loan
from ramshare.manager.placement import Candidate
from ramshare.messages.base import MAX_BYTES, Message
from ramshare.messages.state import Export, HostRecord, Lease, LeaseRecord, ManagerState, is_committed
from ramshare.retained import ClientState
from ramshare.topics import name, role


class PlainManager:
    """Looks at a cluster's retained topics only, and at the grants that it is told of itself."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.granted: dict[tuple[str, str], tuple[str, float]] = {}

    def grant(self, lender: str, lease: str, borrower: str, now_s: float) -> None:
        self.granted[lender, lease] = (borrower, now_s)

    def forget_grants(self, now_s: float) -> None:
        shown = {(view.client, export.lease) for view, export in self.exports()}
        for key, (_, since_s) in list(self.granted.items()):
            if key not in shown and now_s - since_s > SHOWN_WITHIN_S:
                del self.granted[key]

    def views(self, of_role: str) -> Iterator[ClientState]:
        return (view for client, view in sorted(self.cluster.by_client.items()) if role(client) == of_role)

    def exports(self) -> list[tuple[ClientState, Export]]:
        return [(view, export) for view in self.views("lender") for export in view.of_kind(Export)]

    def vouched(self, lender: str, export: Export) -> bool:
        own = self.cluster.get(export.borrower, f"lease/{export.lease}", Lease)
        granted, _ = self.granted.get((lender, export.lease), ("", 0.0))
        return granted == export.borrower or (own is not None and own.lender == lender)

    def unheard(self) -> list[str]:
        both = (*self.views("borrower"), *self.views("lender"))
        return [view.client for view in both if view.online and not view.fresh]

    def borrowing_hosts(self) -> set[str]:
        own = {name(view.client) for view in self.views("borrower") if any(True for _ in view.of_kind(Lease))}
        return own | {name(export.borrower) for view, export in self.exports() if self.vouched(view.client, export)}

    def lending_hosts(self) -> set[str]:
        return {name(view.client) for view in self.views("lender") if any(True for _ in view.of_kind(Export))}

    def held_by(self, borrower: str) -> dict[tuple[str, str], int]:
        own = self.cluster.by_client.get(borrower)
        said = {(lease.lender, lease.lease): lease.size_bytes for lease in own.of_kind(Lease)} if own else {}
        return said | {
            (view.client, export.lease): export.size_bytes
            for view, export in self.exports()
            if export.borrower == borrower and self.vouched(view.client, export)
        }

    def candidates(self, loan: Loan, loans: Collection[Loan], now_s: float, *, committed: bool) -> list[Candidate]:
        shunned = loan.shunned()
        borrowing = self.borrowing_hosts() | {name(other.borrower) for other in loans}
        found = []
        for view in self.views("lender"):
            offer = offer_of(view)
            if not self.cluster.usable(view, now_s) or view.client in shunned or name(view.client) in borrowing:
                continue
            if offer is None or not offer.exportable:
                continue
            pledged = [
                (lease, share.size_bytes, is_committed(other.need.mode, share.leg))
                for other in loans
                for lease, share in other.held().items()
                if share.lender == view.client
            ]
            found.append(Candidate(view.client, free_bytes_of(view, offer, pledged, committed=committed)))
        return found

    # --- the database

    def records(self, now_s: float) -> dict[str, Message]:
        hosts, leases = self.host_records(now_s), self.lease_records()
        found: dict[str, Message] = {f"host/{host}": record for host, record in hosts.items()}
        found |= {f"lease/{lease}": record for lease, record in leases.items()}
        away = [x for x in sorted(hosts) if not self.cluster.usable(self.cluster.by_client[f"lender.{x}"], now_s)]
        there = [record for host, record in hosts.items() if host not in away]
        found["summary"] = ManagerState(
            ready=self.cluster.settled,
            lenders=len(there),
            borrowers=sum(1 for view in self.views("borrower") if view.online),
            leases=len(leases),
            capacity_bytes=min(MAX_BYTES, sum(host.capacity_bytes for host in there)),
            lent_bytes=min(MAX_BYTES, sum(host.lent_bytes for host in there)),
            free_bytes=min(MAX_BYTES, sum(host.free_bytes for host in there if host.exportable)),
            away=len(away),
            away_hosts=tuple(away[:20]),
            reason="",
        )
        return found

    def host_records(self, now_s: float) -> dict[str, HostRecord]:
        found, borrowing = {}, self.borrowing_hosts()
        for view in self.views("lender"):
            offer, host = offer_of(view), name(view.client)
            if offer is None:
                continue
            usable = self.cluster.usable(view, now_s)
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

    def lease_records(self) -> dict[str, LeaseRecord]:
        exports = sorted(self.exports(), key=lambda shown: self.vouched(shown[0].client, shown[1]))
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
