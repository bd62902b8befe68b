"""Measures the volume place by place, in labs whose hosts are as each place needs them; every page is checked.

Used by `ramshare bench modes` (ways to attach, against each other and against nbd) and `ramshare bench targets` (what
serves leases, against what one would set up by hand, with the lender in a virtual machine each time).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from ramshare.linux.target import Kind
from ramshare.messages.state import Mode
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.experiments.demo.run import Run, running
from ramshare_lab.experiments.demo.scenario import DemoPlan
from ramshare_lab.experiments.places.by_hand import nbd, nvme_tcp
from ramshare_lab.experiments.places.results import Place, Places, goals
from ramshare_lab.experiments.results import DiskModel, Four
from ramshare_lab.show import Show

CEILING = "ceiling"
PLAIN = "move-plain"
"""A move whose lender gets the pages as they are, as nbd's and NVMe's do."""


@dataclass(frozen=True)
class Visit:
    """One lab and the places that are measured in it, in this order."""

    names: tuple[str, ...]
    target: Kind = "tgt"
    in_vms: bool = False
    suffix: str = ""
    """What tells the names of places apart that are measured in several labs."""

    def only(self, wanted: Sequence[str]) -> "Visit":
        """Return the visit without places that nobody wants; none wanted means all."""
        kept = tuple(name for name in self.names if not wanted or name in wanted or name + self.suffix in wanted)
        return replace(self, names=kept)


MODES = (Visit(("local", "move", PLAIN, "pair", "mirror", "nbd", CEILING)),)
TARGETS = (
    Visit(("move", PLAIN), in_vms=True, suffix=" (tgt)"),
    Visit(("move", PLAIN, "nbd", "nvme-tcp"), in_vms=True, target="lio", suffix=" (LIO)"),
)
_BY_HAND: dict[str, Callable[[Run], AbstractContextManager[list[str]]]] = {"nbd": nbd, "nvme-tcp": nvme_tcp}


def run_places(visits: Sequence[Visit], plan: DemoPlan, name: str, accel: str, show: Show) -> Places:
    """Measure. Raises `RamshareError` where it cannot go on."""
    done: list[Place] = []
    bad_pages = 0
    spec = plan.lab(name, accel)
    for visit in visits:
        if not visit.names:
            continue
        spec = _lab(visit, plan, name, accel)
        with running(spec, plan.load, show) as run:
            for place in visit.names:
                done.append(_measure(run, place, place if place in _BY_HAND else place + visit.suffix))
            bad_pages += run.bad_pages
            accel = run.lab.accel
    return Places(
        accel=accel,
        disk_model=DiskModel(iops=spec.disk_iops, bytes_per_s=spec.disk_bytes_per_s),
        lenders="virtual machines" if spec.vm_lender_names else "network namespaces of this machine",
        data_size_bytes=plan.data_bytes,
        block_size_bytes=plan.block_bytes,
        seconds=plan.seconds,
        places=tuple(done),
        goals=goals(done),
        bad_pages=bad_pages,
    )


def _lab(visit: Visit, plan: DemoPlan, name: str, accel: str) -> LabSpec:
    if not visit.in_vms and "pair" in visit.names:
        # Each lender carries the whole volume, for every place of the lab: one leg of the pair, all of a move.
        return plan.safe_lab(name, accel, ceiling=CEILING in visit.names)
    spec = plan.lab(name, accel, ceiling=CEILING in visit.names)
    if not visit.in_vms:
        return spec
    whole_bytes = plan.swap_bytes + (64 << 20)
    return replace(
        spec,
        lenders=1,
        guests=0,
        lender_bytes=whole_bytes,
        committed_bytes=whole_bytes,
        target=visit.target,
        lenders_in_vms=True,
    )


def _measure(run: Run, place: str, shown: str) -> Place:
    """Bring the volume to a place, measure it there from a fresh array, check all pages, and bring it home."""
    if place == "local":
        return Place(name=shown, swap_mb_s=run.measure("the local disk"))
    if place == CEILING:
        run.move_to_ram_disk()
        return Place(name=shown, swap_mb_s=_there(run, "a RAM disk"))
    if place in _BY_HAND:
        with _BY_HAND[place](run) as devices:
            (home,) = {pv for lv in run.lvm.report().lvs if lv.full_name == VOLUME for pv in lv.pvs}
            run.put_on(devices, place)
            found = Place(name=shown, swap_mb_s=_there(run, place), raw=run.bare(devices[0]))
            run.put_on([home], "the local disk again")
            run.lvm.reduce_vg(VOLUME.partition("/")[0], *devices)
        return found
    mode = Mode.MOVE if place == PLAIN else Mode(place)
    run.page_out()
    run.borrow(mode, encrypt=place != PLAIN)
    found = Place(name=shown, swap_mb_s=_there(run, shown), raw=run.bare_lease())
    run.send_home()
    return found


def _there(run: Run, where: str) -> Four:
    run.refill(where)
    four = run.measure(where)
    run.bad_pages += run.check(where)
    return four
