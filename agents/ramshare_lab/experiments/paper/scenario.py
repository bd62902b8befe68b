"""`make paper`: the paper's figures 2 and 3 measured in a lab, first on the local disk, then on remote memory.

What to measure is `plan.py`'s plan, scaled to the memory that the borrower's host has free; this runs it. Each
data size is a process of its own with an array of checked pages. An interrupted run keeps every point that was measured
in both places.
"""

from dataclasses import dataclass, field

from ramshare.bus.mqtt import MqttBus
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.paper import plan as plans
from ramshare_lab.experiments.paper.results import Paper, merge
from ramshare_lab.experiments.results import DiskModel
from ramshare_lab.experiments.sweeps import Key, Point, Session, measure
from ramshare_lab.load.thrash import Result, Thrash, command
from ramshare_lab.show import Show, follower, timed_stage

ATTACH_TIMEOUT_S = 300.0
SECONDS_PER_POINT = plans.SECONDS_PER_POINT
"""56 points in each of two places: with filling the arrays about eleven minutes in all."""
FIGURE2_DATA_MB = 1536
"""Figure 2's data in the paper's scale, in which 900 are usable. The paper's 1024 lie so close beyond the usable RAM
that here hits in RAM decided: the ratios at neighbouring block sizes were 0.7 and 6.5."""


@dataclass(frozen=True)
class PaperPlan:
    """Sizes and times; the defaults take about eleven minutes on two cores without KVM."""

    mode: Mode = Mode.MOVE
    swap_bytes: int = 640 * MIB
    """With up to 155 MiB of usable RAM this holds the paper's largest ratio, 4 GB of data to 900 MB of RAM."""
    seconds_per_point: float = SECONDS_PER_POINT

    def lab(self, name: str, accel: str = "") -> LabSpec:
        """Return the lab for it: two lenders, each with too little for the volume alone."""
        return LabSpec(
            name=name,
            guests=0,
            swap_bytes=self.swap_bytes,
            lender_bytes=self.swap_bytes * 3 // 4,
            accel=accel,
        )

    def sweep(self, usable_ram_bytes: int) -> plans.Plan:
        """Return what to measure on a host with so much memory."""
        return plans.plan(usable_ram_bytes, self.swap_bytes, self.seconds_per_point, FIGURE2_DATA_MB)


@dataclass
class PaperRun:
    """One run, and what it has measured so far."""

    lab: Lab
    plan: PaperPlan
    show: Show
    local: dict[Key, Result] = field(default_factory=dict)
    remote: dict[Key, Result] = field(default_factory=dict)
    bad_pages: int = 0
    sweep: plans.Plan | None = None
    _done: int = 0

    def run(self) -> None:
        """Measure everything. Raises `RamshareError` where it cannot go on; `paper` then has what there is."""
        lab, show = self.lab, self.show
        bus = MqttBus(lab.broker.settings("cli.lab"), "cli.lab")
        with Operator(bus, f"borrower.{lab.spec.borrower_names[0]}") as operator:
            with timed_stage(show, "waiting for manager, lenders and borrower"):
                operator.wait_ready(self.plan.swap_bytes)
            with timed_stage(show, "filling the host's memory to see how much of it is usable"):
                self.sweep = sweep = self.plan.sweep(usable_ram_bytes(lab.borrower.shell))
            show.note(f"{describe(sweep)}; about {minutes(sweep):.0f} minutes")
            self._place(sweep, self.local, "local disk")
            with timed_stage(show, f"borrowing by {self.plan.mode}"):
                operator.borrow(VOLUME, self.plan.mode)
                volume = operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_TIMEOUT_S, follower(show))
            show.note(f"LVM says: {', '.join(volume.placement)}")
            self._place(sweep, self.remote, "remote memory")
            with timed_stage(show, "returning"):
                operator.send_home(VOLUME)
                operator.follow(VOLUME, VolumePhase.HOME, ATTACH_TIMEOUT_S, follower(show))

    def paper(self) -> Paper | None:
        """Return the figures' points that were measured in both places; None before anything was planned."""
        if self.sweep is None:
            return None
        disk = DiskModel(iops=self.lab.spec.disk_iops, bytes_per_s=self.lab.spec.disk_bytes_per_s)
        return merge(
            self.sweep,
            self.local,
            self.remote,
            accel=self.lab.accel,
            disk_model=disk,
            mode=self.plan.mode.value,
            bad_pages=self.bad_pages,
        )

    def _place(self, sweep: plans.Plan, measured: dict[Key, Result], where: str) -> None:
        for number, session in enumerate(sweep.sessions, 1):
            title = f"{where}, {number} of {len(sweep.sessions)}: {session.data_bytes / 1e6:.0f} MB of data"
            with timed_stage(self.show, title):
                self._session(session, measured, where)

    def _session(self, session: Session, measured: dict[Key, Result], where: str) -> None:
        total = 2 * sum(len(each.points) for each in self.sweep.sessions) if self.sweep else 1

        def finished(point: Point, result: Result) -> None:
            measured[session.data_bytes, point.block_bytes, point.pattern] = result
            self._done += 1
            self.show.progress(self._done / total, f"{where} {point.pattern}")

        with Thrash(self.lab.borrower.shell.open(command(session.data_bytes))) as thrash:
            thrash.init()
            results = measure(thrash, session.points, self.plan.seconds_per_point, finished)
            self.bad_pages += max((result.bad_pages_total for result in results.values()), default=0)


def usable_ram_bytes(shell: RemoteShell) -> int:
    """Return how much of an array larger than that host's memory stays in it."""
    total_bytes = meminfo_bytes(shell.run(["cat", "/proc/meminfo"]).stdout, "MemTotal")
    with shell.open(command(total_bytes)) as process, Thrash(process) as thrash:
        thrash.init()
        status = shell.run(["cat", f"/proc/{process.pid}/status"]).stdout
    return meminfo_bytes(status, "RssAnon")


def meminfo_bytes(text: str, name: str) -> int:
    """Return a size from the text of `/proc/meminfo` or of a process's `status`. Raises `KeyError` if it has none."""
    fields = (line.partition(":") for line in text.splitlines())
    sizes = {key: value.split()[0] for key, _, value in fields if value.strip()}
    return int(sizes[name]) * 1024


LOCAL_FILL_MB_S, REMOTE_FILL_MB_S = 23.0, 48.0
"""How fast arrays were filled in the lab, for the estimate of time."""
OTHER_S = 90.0
"""Boot, borrowing, returning and taking down."""


def minutes(sweep: plans.Plan) -> float:
    """Return about how long a whole run takes."""
    places = plans.estimated_s(sweep, LOCAL_FILL_MB_S) + plans.estimated_s(sweep, REMOTE_FILL_MB_S)
    return (places + OTHER_S) / 60.0


def describe(sweep: plans.Plan) -> str:
    """Say in words what will be measured."""
    points = sum(len(session.points) for session in sweep.sessions)
    sizes = " ".join(f"{session.data_bytes / 1e6:.0f}" for session in sweep.figure3)
    ram_mb, figure2_mb = sweep.usable_ram_bytes / 1e6, sweep.figure2.data_bytes / 1e6
    return (
        f"usable RAM {ram_mb:.0f} MB; figure 2: {len(sweep.figure2.points) // 4} block sizes at {figure2_mb:.0f} MB; "
        f"figure 3: {sizes} MB; 2 × {points} points of {sweep.seconds_per_point:g} s"
    )
