"""What is wrong with a snapshot, in sentences: an absent manager, old facts, gaps, contradictions. Pure."""

from datetime import datetime

from ramshare.bus.tls import RENEW, expiry_of
from ramshare.cli.output import age
from ramshare.cli.snapshot import CLOCK_SLACK_S, Snapshot
from ramshare.messages.state import (
    Export,
    Lease,
    LeasePhase,
    LeaseRecord,
    ManagerState,
    Offer,
    Status,
    Volume,
    VolumePhase,
)
from ramshare.topics import MANAGER, role

HOLDING = {LeasePhase.ATTACHING, LeasePhase.ATTACHED, LeasePhase.DETACHING}
"""Phases in which a borrower has, or may have, pages on a lease."""


def find_alerts(snapshot: Snapshot, now: datetime) -> list[str]:
    """Return what a person must know before believing the rest, most important first."""
    return [
        *_gaps(snapshot),
        *_manager(snapshot, now),
        *_agents(snapshot, now),
        *_volumes(snapshot),
        *_leases(snapshot),
        *_clocks(snapshot, now),
        *_certificates(snapshot, now),
    ]


def _certificates(snapshot: Snapshot, now: datetime) -> list[str]:
    ends = [(fact.client, status.certificate_ends) for fact, status in snapshot.of_kind(Status)]
    soon = [expiry_of(client, end, now) for client, end in ends if end is not None]
    return [f"{warning}: {RENEW}" for warning in soon if warning]


def _gaps(snapshot: Snapshot) -> list[str]:
    found = []
    if not snapshot.settled:
        found.append("the broker did not send everything in time: this picture has gaps")
    summary = snapshot.manager()
    if snapshot.narrow:
        return found + _away(summary)
    counted = sum(1 for _ in snapshot.recorded(LeaseRecord))
    if summary is not None and summary.leases > counted:
        found.append(
            f"the manager counts {summary.leases} leases, {counted} of its records arrived: this picture has gaps"
        )
    return found


def _away(summary: ManagerState | None) -> list[str]:
    if summary is None or not summary.away:
        return []
    more = summary.away - len(summary.away_hosts)
    names = ", ".join(summary.away_hosts) + (f" and {more} more" if more else "")
    return [f"{summary.away} host(s) that lent or offered are offline or silent: {names}"]


def _manager(snapshot: Snapshot, now: datetime) -> list[str]:
    goes_on = "no new loans until one is there; loans that exist go on"
    leader = snapshot.leader()
    summary, age_s = snapshot.manager(), snapshot.heard_age_s(leader, now)
    if age_s is None:
        return [f"there is no manager: {goes_on}"]
    if not snapshot.online(leader):
        return [f"the manager is offline, last heard {age(age_s)} ago: {goes_on}"]
    if snapshot.stale(leader, now):
        return [f"the manager has been silent for {age(age_s)} although the broker calls it online: {goes_on}"]
    if summary is None or not summary.ready:
        return [f"the manager is not ready yet: {summary.reason if summary else 'it has just connected'}"]
    if not summary.active:
        return [f"no manager is active yet: {leader} is {summary.reason}"]
    away = [client for client in snapshot.clients(MANAGER) if not snapshot.online(client)]
    if away and not snapshot.standbys():
        return [f"{leader} makes loans, and no other manager stands by: {', '.join(away)} is offline"]
    return []


def _agents(snapshot: Snapshot, now: datetime) -> list[str]:
    found = []
    showing = {
        fact.client for fact in snapshot.facts() if fact.path != "status" and not isinstance(fact.message, Offer)
    }
    for client in snapshot.clients():
        if role(client) not in ("lender", "borrower", "guest"):
            continue
        age_s = snapshot.heard_age_s(client, now)
        if snapshot.there(client, now):
            if snapshot.stale(client, now):
                found.append(f"{client} has been silent for {age(age_s)}: what is shown of it may not be true any more")
        elif client in showing:
            found.append(f"{client} is offline, last heard {age(age_s)} ago: what is shown of it is its last word")
    return found


def _volumes(snapshot: Snapshot) -> list[str]:
    return [
        f"{volume.volume} of {fact.host} failed: {volume.step}"
        for fact, volume in snapshot.of_kind(Volume)
        if volume.phase is VolumePhase.FAILED
    ] + [
        f"{volume.volume} of {fact.host} is a disk of several guests at once, {', '.join(volume.guests)}: swap of two "
        "on one disk destroys both; take it from one (virsh detach-disk)"
        for fact, volume in snapshot.of_kind(Volume)
        if len(volume.guests) > 1
    ]


def _leases(snapshot: Snapshot) -> list[str]:
    exports = {export.lease for _, export in snapshot.of_kind(Export)}
    lost = [
        f"{fact.client} has lost lease {lease.lease} of {lease.lender} ({lease.volume})"
        for fact, lease in snapshot.of_kind(Lease)
        if lease.phase is LeasePhase.LOST
    ]
    return lost + [
        f"{fact.client} holds lease {lease.lease}, but {lease.lender} has no such export"
        for fact, lease in snapshot.of_kind(Lease)
        if lease.phase in HOLDING and lease.lease not in exports
    ]


def _clocks(snapshot: Snapshot, now: datetime) -> list[str]:
    ahead: dict[str, float] = {}
    for fact in snapshot.facts():
        by_s = (fact.message.at - now).total_seconds()
        if by_s > CLOCK_SLACK_S:
            ahead[fact.client] = max(by_s, ahead.get(fact.client, 0.0))
    return [f"the clock of {client} is {by_s:.0f} s ahead of this machine's" for client, by_s in sorted(ahead.items())]
