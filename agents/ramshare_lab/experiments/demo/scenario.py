"""`make demo`: the paper's system end to end on one machine, measured.

One process keeps an array of checked pages that does not fit into its host's memory. It is measured with its swap on
the local disk, on the memory of two other hosts, and on a RAM disk inside the host (the ceiling: no network); then, in
a lab of its own, mirrored to the other hosts. While its swap volume is moved under it the process keeps thrashing.
"""

from dataclasses import dataclass

from ramshare.messages.state import Mode
from ramshare_lab.cluster.spec import LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.demo.results import Demo, Lease, ModeTimes, Throughput, demo
from ramshare_lab.experiments.demo.run import Load, Run, running
from ramshare_lab.experiments.results import DiskModel, Four
from ramshare_lab.experiments.results import Mode as ModeName
from ramshare_lab.load import fio
from ramshare_lab.show import Show

RAM_DISK_ROOM_BYTES = 32 * MIB
"""A RAM disk that takes the volume has to hold LVM's metadata, too."""


@dataclass(frozen=True)
class DemoPlan:
    """Sizes and times of one demo; the defaults fit into seven minutes on two cores without KVM."""

    data_bytes: int = 256 * MIB
    """Less than half of the swap gets used, or the kernel frees slots at every read and writes the page out again."""
    swap_bytes: int = 400 * MIB
    block_bytes: int = 4096
    seconds: float = 5.0
    lenders: int = 2
    mirror: bool = True

    @property
    def load(self) -> Load:
        """What the process does."""
        return Load(self.data_bytes, self.block_bytes, self.seconds)

    def lab(self, name: str, accel: str = "", *, ceiling: bool = False) -> LabSpec:
        """Return a lab in which each lender has too little for the volume alone."""
        return LabSpec(
            name=name,
            lenders=self.lenders,
            swap_bytes=self.swap_bytes,
            lender_bytes=self.swap_bytes * 3 // 4,
            committed_bytes=self.swap_bytes // 2 + 16 * MIB,
            ceiling_bytes=self.swap_bytes + RAM_DISK_ROOM_BYTES if ceiling else 0,
            accel=accel,
        )


@dataclass(frozen=True)
class _Moved:
    """What the first lab measured."""

    local: Four
    move: Four
    ceiling: Four
    times: ModeTimes
    leases: list[Lease]
    raw: fio.Raw
    bad_pages: int
    secrets_found: list[str]


@dataclass(frozen=True)
class _Mirrored:
    """What the second lab measured."""

    four: Four
    times: ModeTimes
    bad_pages: int
    secrets_found: list[str]


def run_demo(plan: DemoPlan, name: str, accel: str, show: Show) -> Demo:
    """Run the demo, the mirror in a second lab. Raises `RamshareError` where it cannot go on."""
    with running(plan.lab(name, accel, ceiling=True), plan.load, show) as run:
        moved, spec, accel = _by_move(run), run.lab.spec, run.lab.accel
    mirrored: _Mirrored | None = None
    if plan.mirror:
        with running(plan.lab(name, accel), plan.load, show) as run:
            mirrored = _by_mirror(run)
    modes: dict[ModeName, ModeTimes] = {"move": moved.times}
    if mirrored:
        modes["mirror"] = mirrored.times
    return demo(
        accel=accel,
        disk_model=DiskModel(iops=spec.disk_iops, bytes_per_s=spec.disk_bytes_per_s),
        data_size_bytes=plan.data_bytes,
        block_size_bytes=plan.block_bytes,
        throughput=Throughput(
            local=moved.local, move=moved.move, ceiling=moved.ceiling, mirror=mirrored.four if mirrored else None
        ),
        raw=moved.raw,
        leases=moved.leases,
        modes=modes,
        bad_pages=moved.bad_pages + (mirrored.bad_pages if mirrored else 0),
        secrets_found=moved.secrets_found + (mirrored.secrets_found if mirrored else []),
    )


def _by_move(run: Run) -> _Moved:
    """The ceiling comes last, because every page can then be checked at the speed of memory after all the moves."""
    local = run.measure("the local disk")
    run.page_out()
    attach_s = run.borrow(Mode.MOVE)
    leases = [Lease(lender=x.lender, bytes=x.size_bytes) for x in run.operator.leases()]
    run.refill("the lenders' memory")
    move = run.measure("the lenders' memory (move)")
    raw = run.bare_lease()
    secrets_found = run.search_for_secrets()
    run.check("the lenders' memory")
    return_s = run.send_home()
    run.move_to_ram_disk()
    run.refill("the RAM disk")
    ceiling = run.measure("a local RAM disk (ceiling)")
    bad_pages = run.check("the RAM disk") + run.bad_pages
    return _Moved(
        local, move, ceiling, ModeTimes(attach_s=attach_s, return_s=return_s), leases, raw, bad_pages, secrets_found
    )


def _by_mirror(run: Run) -> _Mirrored:
    """All pages are checked before they go home: there it would take four minutes at the modelled disk's pace."""
    attach_s = run.borrow(Mode.MIRROR)
    run.refill("the lenders' memory")
    four = run.measure("the lenders' memory (mirror)")
    secrets_found = run.search_for_secrets()
    run.check("the lenders' memory")
    return_s = run.send_home()
    bad_pages = run.check_some("the local disk") + run.bad_pages
    return _Mirrored(four, ModeTimes(attach_s=attach_s, return_s=return_s), bad_pages, secrets_found)
