"""`ramshare lab guest`: a guest's swap disk moves to remote memory and home again, and the guest notices nothing.

The paper's claim about its Dom0 and DomU, as a measurement: a guest that is a kernel of its own keeps thrashing checked
pages while its host moves the volume beneath it. Also run by `tests/lab/test_guest.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from ramshare.bus.mqtt import MqttBus
from ramshare.linux.lvm import Lvm
from ramshare.messages.state import Mode, Volume, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.guest.uml import Guest, GuestSpec, longest_gap_s
from ramshare_lab.load.thrash import Pattern, Result, Thrash
from ramshare_lab.show import Show, follower, timed_stage

ATTACH_TIMEOUT_S = 240.0
SECTOR_BYTES = 512
"""Unit of a disk's counters under `/sys/block`, whatever its own sector size."""


@dataclass(frozen=True)
class GuestPlan:
    """Sizes and times; the defaults take about four minutes on two busy cores without KVM."""

    guest: GuestSpec = field(default_factory=GuestSpec)
    swap_bytes: int = 48 * MIB
    disk_iops: int = 1000
    """Faster than the demo's disk: here it is not speed that is measured, and a check of every page takes its time."""
    seconds: float = 5.0
    """How long the guest reads at random in each place, for its throughput there."""
    modes: tuple[Mode, ...] = (Mode.MOVE, Mode.MIRROR)

    def lab(self, name: str, accel: str = "") -> LabSpec:
        """Return the lab for it: each of two lenders has too little for the volume alone."""
        return LabSpec(
            name=name,
            guests=0,
            swap_bytes=self.swap_bytes,
            swap_queue=False,  # the guest's disk is a queue by itself
            lender_bytes=self.swap_bytes * 3 // 4,
            disk_iops=self.disk_iops,
            accel=accel,
        )


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Passage(_Model):
    """What the guest lived through while its volume changed places."""

    seconds: float
    """From the request until the volume was where it should be."""
    accesses: int
    """Pages that the guest read or wrote meanwhile, each of them checked."""
    stall_s: float
    """Longest time without a finished access."""
    bad_pages: int


class Stay(_Model):
    """One way to attach: out, there, and home."""

    out: Passage
    home: Passage
    placement: tuple[str, ...]
    """Where LVM said that the pages were, between the two."""
    remote_bytes: int
    """Bytes of the volume on leases, by the same report."""
    read_from_leases_bytes: int
    """What the host really read from the leased disks while the guest read at random."""
    random_read_mb_s: float


class GuestRun(_Model):
    """`results/guest.json`."""

    accel: str
    guest_memory_bytes: int
    data_size_bytes: int
    boot_s: float
    """From the start of the guest until it took commands."""
    boot_ids: tuple[str, ...]
    """Every boot id that the guest reported; one means that it was never restarted."""
    uptime_s: float
    """The guest's own clock at its last heartbeat."""
    longest_gap_s: float
    """Longest time between two heartbeats, one a second being normal, by the guest's own clock."""
    local_random_read_mb_s: float
    stays: dict[Mode, Stay]
    bad_pages: int
    """Pages found lost, stale, mixed up or damaged over the whole run, after a last check of every page."""


def run_guest(lab: Lab, plan: GuestPlan, show: Show) -> GuestRun:
    """Boot the guest in a lab that has been started, and borrow for it. Raises `RamshareError`."""
    bus = MqttBus(lab.broker.settings("cli.lab"), "cli.lab")
    borrower = f"borrower.{lab.spec.borrower_names[0]}"
    shell = lab.borrower.shell
    with Operator(bus, borrower, on_event=lambda event, who: show.note(f"{who}: {event.sentence}")) as operator:
        with timed_stage(show, "waiting for manager, lenders and borrower"):
            operator.wait_ready(plan.swap_bytes)
        with timed_stage(show, "booting a guest in the borrower's host"):
            guest = Guest(shell, plan.guest)
        with guest:
            with timed_stage(show, f"the guest fills {plan.guest.data_bytes // MIB} MiB with checked pages"):
                guest.thrash.init(lambda p: show.progress(p.bytes / plan.guest.data_bytes, "initialise"))
            local = _random_read(guest.thrash, plan, show, "its swap on the host's disk")
            stays = {mode: _stay(operator, shell, guest.thrash, plan, mode, show) for mode in plan.modes}
            with timed_stage(show, "the guest checks every page"):
                last = guest.thrash.check()
            beats = guest.beats
    return GuestRun(
        accel=lab.accel,
        guest_memory_bytes=plan.guest.memory_bytes,
        data_size_bytes=plan.guest.data_bytes,
        boot_s=guest.boot_s,
        boot_ids=tuple(dict.fromkeys(beat.boot_id for beat in beats)),
        uptime_s=beats[-1].uptime_s if beats else 0.0,
        longest_gap_s=longest_gap_s(beats),
        local_random_read_mb_s=local.mb_s,
        stays=stays,
        bad_pages=last.bad_pages_total,
    )


def _random_read(thrash: Thrash, plan: GuestPlan, show: Show, where: str) -> Result:
    with timed_stage(show, f"the guest reads at random, {where}"):
        result = thrash.run(Pattern.RANDOM_READ, block_bytes=4096, seconds=plan.seconds)
    show.note(f"random read, {where}: {result.mb_s:.2f} MB/s")
    return result


def _stay(operator: Operator, shell: RemoteShell, thrash: Thrash, plan: GuestPlan, mode: Mode, show: Show) -> Stay:
    def go(title: str, ask: Callable[[], object], phase: VolumePhase) -> tuple[Passage, Volume]:
        thrash.start_storm()
        with timed_stage(show, title):
            started = time.monotonic()
            ask()
            volume = operator.follow(VOLUME, phase, ATTACH_TIMEOUT_S, follower(show))
            seconds = time.monotonic() - started
        storm = thrash.stop_storm()
        show.note(f"meanwhile the guest accessed {storm.operations} pages; longest stall {storm.stall_s:.2f} s")
        return Passage(
            seconds=seconds, accesses=storm.operations, stall_s=storm.stall_s, bad_pages=storm.bad_pages
        ), volume

    out, volume = go(f"borrowing by {mode}", lambda: operator.borrow(VOLUME, mode), VolumePhase.ATTACHED)
    show.note(f"LVM says: {', '.join(volume.placement)}")
    disks = leased_disks(shell)
    before = read_bytes(shell, disks)
    there = _random_read(thrash, plan, show, f"its swap on {len(disks)} leases ({mode})")
    read = read_bytes(shell, disks) - before
    home, _ = go("returning", lambda: operator.send_home(VOLUME), VolumePhase.HOME)
    return Stay(
        out=out,
        home=home,
        placement=volume.placement,
        remote_bytes=volume.remote_bytes,
        read_from_leases_bytes=read,
        random_read_mb_s=there.mb_s,
    )


def leased_disks(shell: RemoteShell) -> list[str]:
    """Return the names of the host's leased disks, or of the encrypted devices above them."""
    pvs = Lvm(shell, udev=False).report().pvs
    return [pv.name for pv in pvs if any(tag.startswith("ramshare.lease=") for tag in pv.tags)]


def read_bytes(shell: RemoteShell, disks: list[str]) -> int:
    """Return how much the host has read from these disks so far, by the kernel's own counters."""
    if not disks:
        return 0
    numbers = shell.run(["stat", "--dereference", "--format", "%Hr:%Lr", *disks]).stdout.split()
    counters = shell.run(["cat", *(f"/sys/dev/block/{number}/stat" for number in numbers)]).stdout
    return sum(read_bytes_of(line) for line in counters.splitlines())


def read_bytes_of(stat: str) -> int:
    """Return the bytes read by a line of `/sys/block/*/stat`: its third field, in sectors."""
    return int(stat.split()[2]) * SECTOR_BYTES
