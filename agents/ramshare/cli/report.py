"""From a snapshot to the rows of `rows.py`. Pure."""

from datetime import datetime

from ramshare.cli.alerts import find_alerts
from ramshare.cli.rows import AgentRow, GuestRow, HostRow, LeaseRow, ManagerRow, Report, TotalsRow, VolumeRow
from ramshare.cli.snapshot import Snapshot, age_s
from ramshare.messages.state import Export, HostRecord, Lease, LeaseRecord, ManagerState, Memory, Offer, Status, Volume
from ramshare.retained import Fact
from ramshare.topics import name, role


def build(snapshot: Snapshot, broker: str, now: datetime) -> Report:
    """Return what a snapshot says, as rows ordered by name."""
    hosts = _hosts(snapshot, now)
    volumes = [_volume(fact, told, snapshot, now) for fact, told in snapshot.of_kind(Volume)]
    return Report(
        at=now,
        broker=broker,
        complete=snapshot.settled,
        narrow=snapshot.narrow,
        warnings=find_alerts(snapshot, now),
        manager=_manager(snapshot, now),
        totals=_totals(hosts, volumes, snapshot.manager() if snapshot.narrow else None),
        hosts=hosts,
        volumes=volumes,
        leases=_leases(snapshot, now),
        guests=[_guest(fact, told, snapshot, now) for fact, told in snapshot.of_kind(Memory)],
        agents=_agents(snapshot, now),
    )


def _manager(snapshot: Snapshot, now: datetime) -> ManagerRow | None:
    summary, leader = snapshot.manager(), snapshot.leader()
    if summary is None:
        return None
    return ManagerRow(
        client=leader,
        active=summary.active,
        generation=summary.generation,
        standbys=snapshot.standbys(),
        online=snapshot.online(leader),
        stale=snapshot.stale(leader, now),
        ready=summary.ready,
        reason=summary.reason,
        waiting=summary.waiting,
        age_s=snapshot.heard_age_s(leader, now) or 0.0,
    )


def _totals(hosts: list[HostRow], volumes: list[VolumeRow], told: ManagerState | None) -> TotalsRow:
    """Sum up what is known, or of the hosts what the manager `told`."""
    remote_bytes = sum(volume.remote_bytes for volume in volumes)
    if told is not None:
        return TotalsRow(
            hosts=told.lenders + told.away,
            hosts_there=told.lenders,
            capacity_bytes=told.capacity_bytes,
            lent_bytes=told.lent_bytes,
            free_bytes=told.free_bytes,
            volumes=len(volumes),
            remote_bytes=remote_bytes,
        )
    there = [host for host in hosts if not host.stale]
    return TotalsRow(
        hosts=len(hosts),
        hosts_there=len(there),
        capacity_bytes=sum(host.capacity_bytes for host in there),
        lent_bytes=sum(host.lent_bytes for host in there),
        free_bytes=sum(host.free_bytes for host in there if host.exportable),
        volumes=len(volumes),
        remote_bytes=remote_bytes,
    )


def _hosts(snapshot: Snapshot, now: datetime) -> list[HostRow]:
    records = {record.host: record for _, record in snapshot.recorded(HostRecord)}
    offers = {offer.host: offer for fact, offer in snapshot.of_kind(Offer) if offer.host == fact.host}
    leader = snapshot.leader()
    if not snapshot.online(leader) or snapshot.stale(leader, now):
        records = {host: record for host, record in records.items() if host not in offers}
    return [
        _host(host, records.get(host), offers.get(host), snapshot, now)
        for host in sorted(records.keys() | offers.keys())
    ]


def _host(host: str, record: HostRecord | None, offer: Offer | None, snapshot: Snapshot, now: datetime) -> HostRow:
    """The figures are the lender's own; whether it may export is the manager's word where it has one that counts."""
    lender = f"lender.{host}"
    figures, verdict = offer or record, record or offer
    assert figures is not None and verdict is not None
    return HostRow(
        host=host,
        lender=lender,
        address=offer.portal if offer else record.address if record else "",
        online=snapshot.online(lender),
        exportable=verdict.exportable,
        draining=offer is not None and offer.draining,
        capacity_bytes=figures.capacity_bytes,
        lent_bytes=figures.lent_bytes,
        free_bytes=figures.free_bytes,
        committed_bytes=offer.committed_bytes if offer else 0,
        committed_free_bytes=offer.committed_free_bytes if offer else 0,
        reason=verdict.reason,
        age_s=max(0.0, (now - figures.at).total_seconds()),
        stale=_stale(lender, snapshot, now),
    )


def _volume(fact: Fact, told: Volume, snapshot: Snapshot, now: datetime) -> VolumeRow:
    return VolumeRow(
        volume=told.volume,
        host=fact.host,
        phase=told.phase,
        mode=told.mode,
        progress_percent=told.progress_percent,
        size_bytes=told.size_bytes,
        local_bytes=told.local_bytes,
        remote_bytes=told.remote_bytes,
        placement=list(told.placement),
        leases=list(told.leases),
        step=told.step,
        guests=list(told.guests),
        age_s=age_s(fact, now),
        stale=_stale(fact.client, snapshot, now),
    )


def _leases(snapshot: Snapshot, now: datetime) -> list[LeaseRow]:
    """Both ends' words side by side; the manager's record only where neither end says anything."""
    held = {lease.lease: (fact, lease) for fact, lease in snapshot.of_kind(Lease)}
    lent: dict[str, tuple[Fact, Export]] = {}
    for fact, export in snapshot.of_kind(Export):
        holder = held.get(export.lease)
        if holder is None or holder[1].lender == fact.client:  # another's export of that name is not this lease
            lent[export.lease] = (fact, export)
    rows = {record.lease: _recorded(fact, record, now) for fact, record in snapshot.recorded(LeaseRecord)}
    for lease in lent.keys() | held.keys():
        rows[lease] = _lease(lent.get(lease), held.get(lease), snapshot, now)
    return [rows[lease] for lease in sorted(rows)]


def _lease(
    lent: tuple[Fact, Export] | None, held: tuple[Fact, Lease] | None, snapshot: Snapshot, now: datetime
) -> LeaseRow:
    export, lease = lent[1] if lent else None, held[1] if held else None
    said = export or lease
    assert said is not None
    facts = [end[0] for end in (lent, held) if end is not None]
    return LeaseRow(
        lease=said.lease,
        lender=lent[0].client if lent else lease.lender if lease else "",
        borrower=held[0].client if held else export.borrower if export else "",
        volume=lease.volume if lease else None,
        size_bytes=said.size_bytes,
        mode=said.mode,
        lender_phase=export.phase if export else None,
        borrower_phase=lease.phase if lease else None,
        connected=export.connected if export else None,
        address=export.portal if export else None,
        target=export.target if export else None,
        reason=lease.reason if lease else "",
        age_s=max(age_s(fact, now) for fact in facts),
        stale=any(_stale(fact.client, snapshot, now) for fact in facts),
    )


def _recorded(fact: Fact, record: LeaseRecord, now: datetime) -> LeaseRow:
    return LeaseRow(
        lease=record.lease,
        lender=f"lender.{record.host}",
        borrower=record.borrower,
        volume=None,
        size_bytes=record.size_bytes,
        mode=record.mode,
        lender_phase=None,
        borrower_phase=None,
        connected=None,
        address=record.address,
        target=record.target,
        reason="only the manager's record is left of it",
        age_s=age_s(fact, now),
        stale=True,
    )


def _guest(fact: Fact, told: Memory, snapshot: Snapshot, now: datetime) -> GuestRow:
    late = age_s(fact, now) > max(3 * told.interval_s, 1.0)
    return GuestRow(
        client=fact.client,
        total_bytes=told.total_bytes,
        available_bytes=told.available_bytes,
        swap_used_bytes=told.swap_used_bytes,
        swap_in_bytes_s=told.swap_in_bytes_s,
        swap_out_bytes_s=told.swap_out_bytes_s,
        psi_some_avg10=told.psi_some_avg10,
        age_s=age_s(fact, now),
        stale=late or _stale(fact.client, snapshot, now),
    )


def _agents(snapshot: Snapshot, now: datetime) -> list[AgentRow]:
    """Everybody with a status; commands of people only while they are there."""
    rows = []
    for client in snapshot.clients():
        status = snapshot.get(client, "status", Status)
        online = snapshot.there(client, now)
        if role(client) == "cli" and not online:
            continue
        rows.append(
            AgentRow(
                client=client,
                role=role(client),
                online=online,
                stale=snapshot.stale(client, now),
                version=status.version if status else "",
                age_s=snapshot.heard_age_s(client, now) or 0.0,
            )
        )
    return sorted(rows, key=_order)


_ORDER = ("manager", "lender", "borrower", "guest")


def _order(row: AgentRow) -> tuple[int, str]:
    return (_ORDER.index(row.role) if row.role in _ORDER else len(_ORDER), name(row.client))


def _stale(client: str, snapshot: Snapshot, now: datetime) -> bool:
    return not snapshot.there(client, now) or snapshot.stale(client, now)
