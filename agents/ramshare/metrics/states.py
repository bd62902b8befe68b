"""Gauges of what an agent says of itself: pure, from the very states that it publishes. A scrape asks nobody else."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from prometheus_client.core import GaugeMetricFamily, Metric

from ramshare.messages.base import Message
from ramshare.messages.state import (
    Export,
    Lease,
    LeasePhase,
    LeaseRecord,
    ManagerState,
    Memory,
    Mode,
    Offer,
    Volume,
    VolumePhase,
)

States = Mapping[str, Message]
M = TypeVar("M", bound=Message)


def gauges(role: str, states: States) -> Iterator[Metric]:
    """Yield what an agent of `role` has to show; counts of none are shown as 0, so that a sum never has gaps."""
    for family in _FAMILIES.get(role, ()):
        yield from family(states)


def _memory(states: States) -> Iterator[Metric]:
    for memory in _all(states, Memory):
        yield _gauge("ramshare_memory_bytes", "Memory of this host or guest.", memory.total_bytes)
        yield _gauge("ramshare_memory_available_bytes", "To be had without swapping.", memory.available_bytes)
        yield _gauge("ramshare_swap_used_bytes", "Swap in use.", memory.swap_used_bytes)
        yield _gauge("ramshare_swap_in_bytes_per_second", "Read from swap.", memory.swap_in_bytes_s)
        yield _gauge("ramshare_swap_out_bytes_per_second", "Written to swap.", memory.swap_out_bytes_s)


def _offer(states: States) -> Iterator[Metric]:
    for offer in _all(states, Offer):
        yield _gauge("ramshare_offer_capacity_bytes", "All that may be lent now, lent or not.", offer.capacity_bytes)
        yield _gauge("ramshare_offer_free_bytes", "What a new lease may take.", offer.free_bytes)
        yield _gauge("ramshare_offer_committed_bytes", "Set aside by the owner for good.", offer.committed_bytes)
        free = offer.committed_free_bytes
        yield _gauge("ramshare_offer_committed_free_bytes", "What a new lease of a move may take.", free)
        yield _gauge("ramshare_offer_exportable", "Whether anything is offered.", offer.exportable)
        yield _gauge("ramshare_draining", "Whether this host is being drained.", offer.draining)


def _exports(states: States) -> Iterator[Metric]:
    exports = list(_all(states, Export))
    yield _leases(Counter((export.mode, export.phase) for export in exports))
    yield _by_mode("ramshare_lent_bytes", "Memory in exports.", [(e.mode, e.size_bytes) for e in exports])
    connected = sum(export.connected for export in exports)
    yield _gauge("ramshare_leases_connected", "Exports with an open iSCSI session.", connected)


def _borrowed(states: States) -> Iterator[Metric]:
    leases = list(_all(states, Lease))
    yield _leases(Counter((lease.mode, lease.phase) for lease in leases))
    yield _by_mode("ramshare_borrowed_bytes", "Memory on leases.", [(x.mode, x.size_bytes) for x in leases])
    volumes = sorted(_all(states, Volume), key=lambda volume: volume.volume)
    phases = Counter(volume.phase for volume in volumes)
    yield _labelled("ramshare_volumes", "Volumes in care.", "phase", {p.value: phases[p] for p in VolumePhase})
    local = {volume.volume: volume.local_bytes for volume in volumes}
    remote = {volume.volume: volume.remote_bytes for volume in volumes}
    yield _labelled("ramshare_volume_local_bytes", "Bytes of a volume on local disks.", "volume", local)
    yield _labelled("ramshare_volume_remote_bytes", "Bytes of a volume on leases.", "volume", remote)


def _cluster(states: States) -> Iterator[Metric]:
    for summary in _all(states, ManagerState):
        yield _gauge("ramshare_manager_ready", "Whether loans are made.", summary.ready)
        yield _gauge("ramshare_manager_active", "Whether this manager makes loans, or stands by.", summary.active)
        yield _gauge("ramshare_cluster_lenders", "Lenders online.", summary.lenders)
        yield _gauge("ramshare_cluster_borrowers", "Borrowers online.", summary.borrowers)
        yield _gauge("ramshare_cluster_capacity_bytes", "All that lenders may lend.", summary.capacity_bytes)
        yield _gauge("ramshare_cluster_free_bytes", "What new leases may take.", summary.free_bytes)
    records = list(_all(states, LeaseRecord))
    yield _leases(Counter((record.mode, record.phase) for record in records))
    lent = [(record.mode, record.size_bytes) for record in records]
    yield _by_mode("ramshare_cluster_lent_bytes", "Memory in exports of all lenders.", lent)


_FAMILIES: dict[str, tuple[Callable[[States], Iterator[Metric]], ...]] = {
    "monitor": (_memory,),
    "lender": (_memory, _offer, _exports),
    "borrower": (_borrowed,),
    "manager": (_cluster,),
}


def _all(states: States, kind: type[M]) -> Iterator[M]:
    return (message for message in states.values() if isinstance(message, kind))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _by_mode(name: str, text: str, found: list[tuple[Mode, int]]) -> Metric:
    return _labelled(name, text, "mode", {mode.value: sum(n for m, n in found if m is mode) for mode in Mode})


def _leases(found: Counter[tuple[Mode, LeasePhase]]) -> Metric:
    family = GaugeMetricFamily("ramshare_leases", "Leases by state.", labels=["mode", "phase"])
    for mode in Mode:
        for phase in LeasePhase:
            family.add_metric([mode.value, phase.value], found[(mode, phase)])
    return family
