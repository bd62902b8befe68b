"""`make demo`: the paper's system end to end on one machine, measured.

One process keeps an array of checked pages that does not fit into its host's memory. It is measured with its swap on
the local disk, on a RAM disk inside the host (the ceiling: no network), and on the memory of two other hosts, first
moved there, then mirrored; in between it keeps thrashing while its swap volume is moved under it. The mirror has a lab
of its own, for there the host swaps through a queue.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from ramshare.bench import fio
from ramshare.bench.results import Demo, DiskModel, Four, Lease, ModeTimes, Throughput, demo, rates
from ramshare.bench.results import Mode as ModeName
from ramshare.bench.sweeps import measure_patterns
from ramshare.bench.thrash import Pattern, Thrash, command
from ramshare.bus.mqtt import MqttBus
from ramshare.lab.cluster import Lab
from ramshare.lab.operator import Operator
from ramshare.lab.spec import VOLUME, LabSpec, needs_queue
from ramshare.lab.vm import MIB
from ramshare.linux.lvm import Lvm
from ramshare.messages.state import Mode, Volume, VolumePhase

RAM_DISK = "/dev/ram0"
ATTACH_TIMEOUT_S = 240.0
STORM_WRITE_PERCENT = 0
"""While the volume moves the process reads at random. dm-mirror hands swapped-out pages to the disk one by one: a write
storm on a disk of 120 IOPS takes minutes and can end in the OOM killer. The fault suite is the place for that."""


class Show(Protocol):
    """How the demo tells what it does; the command line draws it."""

    def stage(self, title: str) -> None:
        """Begin a stage."""
        ...

    def progress(self, done: float, text: str) -> None:
        """Show how far the stage is, 0 to 1."""
        ...

    def note(self, text: str) -> None:
        """Say one line that stays."""
        ...


@dataclass(frozen=True)
class DemoPlan:
    """Sizes and times of one demo; the defaults fit into six minutes on two cores without KVM."""

    data_bytes: int = 256 * MIB
    """Less than half of the swap gets used, or the kernel frees slots at every read and writes the page out again."""
    swap_bytes: int = 400 * MIB
    block_bytes: int = 4096
    seconds: float = 5.0
    modes: tuple[Mode, ...] = (Mode.MOVE, Mode.MIRROR)
    lenders: int = 2

    def lab(self, mode: Mode, name: str, accel: str = "") -> LabSpec:
        """Return the lab for a mode: each lender has too little for the volume alone."""
        return LabSpec(
            name=name,
            lenders=self.lenders,
            swap_bytes=self.swap_bytes,
            lender_bytes=self.swap_bytes * 3 // 4,
            committed_bytes=self.swap_bytes // 2 + 16 * MIB,
            ceiling_bytes=self.swap_bytes + 32 * MIB if mode is Mode.MOVE else 0,
            swap_queue=needs_queue(mode),
            accel=accel,
        )


@dataclass
class _Measured:
    """What has been measured so far."""

    accel: str
    disk: DiskModel | None = None
    at: dict[str, Four] = field(default_factory=dict)
    times: dict[ModeName, ModeTimes] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    raw: fio.Raw | None = None
    bad_pages: int = 0


def run_demo(plan: DemoPlan, name: str, accel: str, show: Show) -> Demo:
    """Run the demo, in a lab for each mode. Raises `RamshareError` where it cannot go on."""
    measured = _Measured(accel)
    for mode in plan.modes:
        with Lab(plan.lab(mode, name, measured.accel), show.stage) as lab:
            measured.accel = lab.accel
            measured.disk = DiskModel(iops=lab.spec.disk_iops, bytes_per_s=lab.spec.disk_bytes_per_s)
            show.note(f"follow it: ramshare lab listen --name {name}")
            _run_mode(lab, plan, measured, mode, show)
    return _results(plan, measured)


def _run_mode(lab: Lab, plan: DemoPlan, measured: _Measured, mode: Mode, show: Show) -> None:
    bus = MqttBus(lab.broker.settings("cli.lab"), "cli.lab")
    borrower = f"borrower.{lab.spec.borrower_names[0]}"
    with Operator(bus, borrower, on_event=lambda event, who: show.note(f"{who}: {event.sentence}")) as operator:
        with lab_stage(show, "waiting for manager, lenders and borrower"):
            operator.wait_ready(plan.swap_bytes)
        with Thrash(lab.borrower.shell.open(command(plan.data_bytes))) as thrash:
            with lab_stage(show, f"filling {plan.data_bytes // MIB} MiB with checked pages"):
                thrash.init(on_progress=lambda p: show.progress(p.bytes / plan.data_bytes, "initialise"))
            if mode is Mode.MOVE:
                measured.at["local"] = _four(thrash, plan, show, "the local disk")
                _settle(thrash, show, "the local disk")
            _borrow_and_return(lab, operator, thrash, plan, measured, mode, show)
            if mode is Mode.MOVE:
                _measure_ceiling(lab, thrash, plan, measured, show)
            measured.bad_pages += _last_check(thrash, plan, mode, show)


@contextmanager
def lab_stage(show: Show, title: str) -> Iterator[None]:
    """Announce a stage and note how long it took."""
    show.stage(title)
    started = time.monotonic()
    yield
    show.note(f"{title}: {time.monotonic() - started:.1f} s")


def _last_check(thrash: Thrash, plan: DemoPlan, mode: Mode, show: Show) -> int:
    """Return how many pages were bad at any time; at home in a mirror's lab only a part is read.

    There every page takes four minutes on the modelled disk; it was checked just before, the fault suite does it all.
    """
    if mode is Mode.MOVE:
        with lab_stage(show, "checking every page"):
            return thrash.check().bad_pages_total
    with lab_stage(show, "checking pages at random on the local disk"):
        return thrash.run(Pattern.RANDOM_READ, block_bytes=plan.block_bytes, seconds=plan.seconds).bad_pages_total


def _settle(thrash: Thrash, show: Show, where: str) -> None:
    """Check every page; on the way the pages that writes made dirty get written out."""
    with lab_stage(show, f"checking every page with swap on {where}"):
        thrash.check()


def _four(thrash: Thrash, plan: DemoPlan, show: Show, where: str) -> Four:
    with lab_stage(show, f"measuring with swap on {where}"):
        results = measure_patterns(
            thrash,
            plan.block_bytes,
            plan.seconds,
            on_progress=lambda p: show.progress(min(1.0, p.seconds / plan.seconds), where),
        )
    four = rates(results)
    show.note(f"{where}: " + ", ".join(f"{p.value.replace('_', ' ')} {four.of(p):.1f} MB/s" for p in results))
    return four


def _measure_ceiling(lab: Lab, thrash: Thrash, plan: DemoPlan, measured: _Measured, show: Show) -> None:
    """The same volume on a RAM disk of its own host, put there by the same means; it stays there.

    Last, because every page can then be checked at the speed of memory after all the moves.
    """
    lvm = Lvm(lab.borrower.shell, udev=False)
    vg = VOLUME.partition("/")[0]
    disk = next(pv.name for pv in lvm.report().pvs if pv.vg == vg)
    with lab_stage(show, "moving the volume to a RAM disk inside its host (the ceiling)"):
        lvm.extend_vg(vg, RAM_DISK)
        lvm.start_move(VOLUME, disk, [RAM_DISK], background=False)
    measured.at["ceiling"] = _four(thrash, plan, show, "a local RAM disk (ceiling)")


def _borrow_and_return(
    lab: Lab, operator: Operator, thrash: Thrash, plan: DemoPlan, measured: _Measured, mode: Mode, show: Show
) -> None:
    """Borrow while the process thrashes, measure, return while it thrashes again."""
    with storm(thrash), lab_stage(show, f"borrowing by {mode} while the process keeps thrashing"):
        started = time.monotonic()
        operator.borrow(VOLUME, mode)
        volume = operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_TIMEOUT_S, _follower(show))
        attach_s = time.monotonic() - started
    show.note(f"LVM says: {', '.join(volume.placement)}")
    if mode is Mode.MOVE:
        measured.leases = [Lease(lender=x.lender, bytes=x.size_bytes) for x in operator.leases()]
    measured.at[mode.value] = _four(thrash, plan, show, f"the lenders' memory ({mode})")
    if measured.raw is None:
        measured.raw = _raw(lab, plan, show)
    _settle(thrash, show, "the lenders' memory")
    with storm(thrash), lab_stage(show, "returning while the process keeps thrashing"):
        started = time.monotonic()
        operator.send_home(VOLUME)
        operator.follow(VOLUME, VolumePhase.HOME, ATTACH_TIMEOUT_S, _follower(show))
        return_s = time.monotonic() - started
    measured.times[mode.value] = ModeTimes(attach_s=attach_s, return_s=return_s)


@contextmanager
def storm(thrash: Thrash) -> Iterator[None]:
    """Have the process thrash at random, reads and writes, for the time of the block."""
    thrash.start_storm(STORM_WRITE_PERCENT)
    yield
    thrash.stop_storm()  # not after a failure or Ctrl-C: a process that hangs would be waited for


def _raw(lab: Lab, plan: DemoPlan, show: Show) -> fio.Raw:
    """What one lease's disk gives by itself: the share of network, target and emulation."""
    shell = lab.borrower.shell
    device = _leased_device(lab)
    with lab_stage(show, f"measuring the bare lease {device} with fio"):
        outputs = [
            shell.run(argv, timeout_s=60.0).stdout
            for argv in (fio.random_read_argv(device, plan.seconds), fio.sequential_read_argv(device, plan.seconds))
        ]
    return fio.parse(*outputs)


def _leased_device(lab: Lab) -> str:
    state = Lvm(lab.borrower.shell, udev=False).report()
    return next(pv.name for pv in state.pvs if any(tag.startswith("ramshare.lease=") for tag in pv.tags))


def _follower(show: Show) -> Callable[[Volume], None]:
    return lambda volume: show.progress(volume.progress_percent / 100.0, volume.step)


def _results(plan: DemoPlan, measured: _Measured) -> Demo:
    assert measured.raw is not None
    assert measured.disk is not None
    return demo(
        accel=measured.accel,
        disk_model=measured.disk,
        data_size_bytes=plan.data_bytes,
        block_size_bytes=plan.block_bytes,
        throughput=Throughput(
            local=measured.at["local"],
            move=measured.at["move"],
            ceiling=measured.at["ceiling"],
            mirror=measured.at.get("mirror"),
        ),
        raw=measured.raw,
        leases=measured.leases,
        modes=measured.times,
        bad_pages=measured.bad_pages,
    )
