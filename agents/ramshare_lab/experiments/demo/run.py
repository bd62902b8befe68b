"""One lab of the demo and the stages that its story is told in: fill, measure, borrow, return, check."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ramshare.bus.mqtt import MqttBus
from ramshare.linux.lvm import Lvm
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.secret_search import search_lab
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.results import Four, rates
from ramshare_lab.experiments.sweeps import measure_patterns
from ramshare_lab.load import fio
from ramshare_lab.load.thrash import Pattern, Thrash, command
from ramshare_lab.show import Show, follower, timed_stage

RAM_DISK = "/dev/ram0"
ATTACH_TIMEOUT_S = 600.0
BARE_S = 5.0
"""For each figure of a bare disk, which has no state that longer runs would meet."""
STORM_WRITE_PERCENT = 0
"""While the volume moves the process reads at random. dm-mirror hands swapped-out pages to the disk one by one: a write
storm on a disk of 120 IOPS takes minutes and can end in the OOM killer. The fault suite is the place for that."""


@dataclass(frozen=True)
class Load:
    """What the process in the borrower's host does while it is measured."""

    data_bytes: int
    block_bytes: int
    seconds: float
    """Of each pattern."""


@dataclass
class Run:
    """A running lab, its operator, and the process whose pages are in swap."""

    lab: Lab
    operator: Operator
    thrash: Thrash
    load: Load
    show: Show
    bad_pages: int = 0
    """Found before the array was filled anew."""

    def fill(self) -> None:
        """Fill the process's array with checked pages."""
        size = self.load.data_bytes
        with timed_stage(self.show, f"filling {size // MIB} MiB with checked pages"):
            self.thrash.init(on_progress=lambda p: self.show.progress(p.bytes / size, "initialise"))

    def refill(self, where: str) -> None:
        """Check every page, then fill the array anew: each place is measured from the same state.

        What earlier writes left in memory decides else: in one place sequential reads were 6.7 MB/s after one history
        and 17.2 after another.
        """
        self.bad_pages += self.check(where)
        self.fill()

    def measure(self, where: str) -> Four:
        """Return the throughput of all four patterns with swap as it is now."""
        seconds = self.load.seconds
        with timed_stage(self.show, f"measuring with swap on {where}"):
            results = measure_patterns(
                self.thrash,
                self.load.block_bytes,
                seconds,
                on_progress=lambda p: self.show.progress(min(1.0, p.seconds / seconds), where),
            )
        four = rates(results)
        self.show.note(f"{where}: " + ", ".join(f"{p.value.replace('_', ' ')} {four.of(p):.1f} MB/s" for p in results))
        return four

    def borrow(self, mode: Mode, *, encrypt: bool | None = None) -> float:
        """Attach the volume while the process thrashes; return how many seconds it took."""
        plain = ", not encrypted," if encrypt is False else ""
        title = f"borrowing by {mode}{plain} while the process keeps thrashing"
        with self._storm(), timed_stage(self.show, title):
            started = time.monotonic()
            self.operator.borrow(VOLUME, mode, encrypt=encrypt)
            volume = self.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_TIMEOUT_S, follower(self.show))
            attach_s = time.monotonic() - started
        self.show.note(f"LVM says: {', '.join(volume.placement)}")
        return attach_s

    def send_home(self) -> float:
        """Bring the volume home while the process thrashes; return how many seconds it took."""
        with self._storm(), timed_stage(self.show, "returning while the process keeps thrashing"):
            started = time.monotonic()
            self.operator.send_home(VOLUME)
            self.operator.follow(VOLUME, VolumePhase.HOME, ATTACH_TIMEOUT_S, follower(self.show))
            return time.monotonic() - started

    def page_out(self) -> None:
        """Have every page on the swap device: what is dirty in memory would come page by page during the move."""
        with timed_stage(self.show, "paging everything out"):
            self.thrash.page_out(lambda p: self.show.progress(p.bytes / self.load.data_bytes, "page out"))

    def check(self, where: str) -> int:
        """Check every page; return how many were bad so far."""
        with timed_stage(self.show, f"checking every page with swap on {where}"):
            return self.thrash.check().bad_pages_total

    def check_some(self, where: str) -> int:
        """Check as many pages as can be read at random in the time of a measurement; return how many were bad so far.

        On the modelled disk every page takes four minutes; the fault suite does it.
        """
        with timed_stage(self.show, f"checking pages at random on {where}"):
            seconds, block = self.load.seconds, self.load.block_bytes
            return self.thrash.run(Pattern.RANDOM_READ, block_bytes=block, seconds=seconds).bad_pages_total

    def bare_lease(self) -> fio.Raw:
        """Return what one lease's disk gives by itself: the share of network, target and emulation."""
        pvs = self.lvm.report().pvs
        device = next(pv.name for pv in pvs if any(tag.startswith("ramshare.lease=") for tag in pv.tags))
        return self.bare(device)

    def bare(self, device: str) -> fio.Raw:
        """Return what a disk gives by itself; nothing is written."""
        shell, seconds = self.lab.borrower.shell, min(self.load.seconds, BARE_S)
        with timed_stage(self.show, f"measuring the bare disk {device} with fio"):
            outputs = [
                shell.run(argv, timeout_s=60.0).stdout
                for argv in (fio.random_read_argv(device, seconds), fio.sequential_read_argv(device, seconds))
            ]
        return fio.parse(*outputs)

    @property
    def lvm(self) -> Lvm:
        """LVM in the borrower's host."""
        return Lvm(self.lab.borrower.shell, udev=False)

    def put_on(self, devices: Sequence[str], what: str) -> None:
        """Move the volume to other disks by hand, by LVM alone; the disks that it leaves stay in its group."""
        vg = VOLUME.partition("/")[0]
        sources = next(lv.pvs for lv in self.lvm.report().lvs if lv.full_name == VOLUME)
        with timed_stage(self.show, f"moving the volume to {what}"):
            for device in devices:
                self.lvm.extend_vg(vg, device)
            for source in sorted(set(sources)):
                self.lvm.start_move(VOLUME, source, devices, background=False)

    def search_for_secrets(self) -> list[str]:
        """Return where a secret lies that should not: in a log, a database, a process list."""
        with timed_stage(self.show, "looking for secrets in logs, databases and process lists"):
            searched = search_lab(self.lab)
        self.show.note(
            f"{searched.secrets} secrets looked for in {searched.places} places: {len(searched.found)} found"
        )
        return list(searched.found)

    def move_to_ram_disk(self) -> None:
        """Put the volume on a RAM disk of its own host, by the same means; it stays there."""
        self.put_on([RAM_DISK], "a RAM disk inside its host (the ceiling)")

    @contextmanager
    def _storm(self) -> Iterator[None]:
        """Have the process thrash at random for the time of the block."""
        self.thrash.start_storm(STORM_WRITE_PERCENT)
        yield
        self.thrash.stop_storm()  # not after a failure or Ctrl-C: a process that hangs would be waited for


@contextmanager
def running(spec: LabSpec, load: Load, show: Show) -> Iterator[Run]:
    """Bring a lab up, and in its borrower's host the process with its pages. Raises `RamshareError`."""
    with Lab(spec, show.stage) as lab:
        show.note(f"follow it: ramshare lab listen --name {spec.name}")
        bus = MqttBus(lab.broker.settings("cli.lab"), "cli.lab")
        borrower = f"borrower.{lab.spec.borrower_names[0]}"
        with Operator(bus, borrower, on_event=lambda event, who: show.note(f"{who}: {event.sentence}")) as operator:
            with timed_stage(show, "waiting for manager, lenders and borrower"):
                operator.wait_ready(lab.spec.swap_bytes)
            with Thrash(lab.borrower.shell.open(command(load.data_bytes))) as thrash:
                run = Run(lab, operator, thrash, load, show)
                run.fill()
                yield run
