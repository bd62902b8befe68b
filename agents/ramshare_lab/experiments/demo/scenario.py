"""`make demo`: the paper's system end to end on one machine, measured.

One process keeps an array of checked pages that does not fit into its host's memory. It is measured with its swap
on the local disk, on the memory of two other hosts (encrypted and not), and on a RAM disk inside the host (the
ceiling: no network); then, in a lab of their own, as a pair on the other hosts, and mirrored to them. While its swap
volume is moved under it the process keeps thrashing.
"""

from dataclasses import dataclass, field, replace

from ramshare.messages.state import Mode
from ramshare_lab.cluster.spec import LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.demo.results import Demo, Lease, ModeTimes, Throughput, demo
from ramshare_lab.experiments.demo.run import Load, Run, running
from ramshare_lab.experiments.results import MODES, DiskModel, Four
from ramshare_lab.experiments.results import Mode as ModeName
from ramshare_lab.load import fio
from ramshare_lab.show import Show

RAM_DISK_ROOM_BYTES = 32 * MIB
"""A RAM disk that takes the volume has to hold LVM's metadata, too."""


@dataclass(frozen=True)
class DemoPlan:
    """Sizes and times of one demo; the defaults fit into ten minutes on two cores without KVM."""

    data_bytes: int = 256 * MIB
    """Less than half of the swap gets used, or the kernel frees slots at every read and writes the page out again."""
    swap_bytes: int = 400 * MIB
    block_bytes: int = 4096
    seconds: float = 5.0
    lenders: int = 2
    safe: bool = True
    """Whether the modes that survive a lender's death are measured, too."""

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

    def safe_lab(self, name: str, accel: str, *, ceiling: bool = False) -> LabSpec:
        """Return a lab in which each lender can carry the volume alone, as a pair of two needs it."""
        room_bytes = self.swap_bytes + RAM_DISK_ROOM_BYTES
        return replace(self.lab(name, accel, ceiling=ceiling), lender_bytes=room_bytes, committed_bytes=room_bytes)


@dataclass
class _Measured:
    """What the labs measured so far."""

    places: dict[str, Four] = field(default_factory=dict)
    times: dict[ModeName, ModeTimes] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    raw: fio.Raw | None = None
    bad_pages: int = 0
    secrets_found: list[str] = field(default_factory=list)


def run_demo(plan: DemoPlan, name: str, accel: str, show: Show) -> Demo:
    """Run the demo, the safe modes in a second lab. Raises `RamshareError` where it cannot go on."""
    measured = _Measured()
    with running(plan.lab(name, accel, ceiling=True), plan.load, show) as run:
        _by_move(run, measured)
        spec, accel = run.lab.spec, run.lab.accel
    if plan.safe:
        with running(plan.safe_lab(name, accel), plan.load, show) as run:
            _safely(run, measured, Mode.PAIR)
            _safely(run, measured, Mode.MIRROR)
            measured.bad_pages += run.check_some("the local disk") + run.bad_pages
    assert measured.raw is not None
    return demo(
        accel=accel,
        disk_model=DiskModel(iops=spec.disk_iops, bytes_per_s=spec.disk_bytes_per_s),
        data_size_bytes=plan.data_bytes,
        block_size_bytes=plan.block_bytes,
        throughput=Throughput.model_validate(measured.places),
        raw=measured.raw,
        leases=measured.leases,
        modes=measured.times,
        bad_pages=measured.bad_pages,
        secrets_found=measured.secrets_found,
    )


def _by_move(run: Run, measured: _Measured) -> None:
    """The ceiling comes last, because every page can then be checked at the speed of memory after all the moves."""
    measured.places["local"] = run.measure("the local disk")
    ways: tuple[tuple[ModeName, bool], ...] = (("move", True), ("move_plain", False))
    for mode, encrypt in ways:
        run.page_out()
        attach_s = run.borrow(Mode.MOVE, encrypt=encrypt)
        measured.leases = [Lease(lender=x.lender, bytes=x.size_bytes) for x in run.operator.leases()]
        run.refill("the lenders' memory")
        measured.places[mode] = run.measure(f"the lenders' memory ({MODES[mode]})")
        if mode == "move":
            measured.raw = run.bare_lease()
            measured.secrets_found += run.search_for_secrets()
        run.check("the lenders' memory")
        measured.times[mode] = ModeTimes(attach_s=attach_s, return_s=run.send_home())
    run.move_to_ram_disk()
    run.refill("the RAM disk")
    measured.places["ceiling"] = run.measure("a local RAM disk (ceiling)")
    measured.bad_pages += run.check("the RAM disk") + run.bad_pages


def _safely(run: Run, measured: _Measured, mode: Mode) -> None:
    """All pages are checked before they go home: there it would take four minutes at the modelled disk's pace."""
    name: ModeName = "pair" if mode is Mode.PAIR else "mirror"
    attach_s = run.borrow(mode)
    run.refill("the lenders' memory")
    measured.places[name] = run.measure(f"the lenders' memory ({name})")
    measured.secrets_found += run.search_for_secrets()
    run.check("the lenders' memory")
    measured.times[name] = ModeTimes(attach_s=attach_s, return_s=run.send_home())
