"""What the guest does meanwhile, and how fast: its own work, filling memory, pages that it swaps out."""

from collections.abc import Callable
from statistics import median
from types import TracebackType
from typing import Self

import psutil

from ramshare_lab.cluster.vm import Vm
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.surplus.plan import DEMAND_BYTES, GUEST, WORK_BYTES, SurplusPlan
from ramshare_lab.load.thrash import Pattern, Thrash, command

CALM_CORES = 0.4
"""Cores busy with anything but the guest up to which a sample of its work counts. The rest of a quiet lab takes 0.2,
half of it to look at the balloons twenty times a second; an unrelated process takes 1, and slows the guest by 30 %."""
_BLOCK_BYTES = 4096


class GuestWork:
    """A process of checked pages in the guest, and what is measured with it. A context manager that ends it."""

    def __init__(self, vm: Vm, plan: SurplusPlan, say: Callable[[str], None]) -> None:
        self._vm = vm
        self._plan = plan
        self._say = say
        self._process = Thrash(vm.shell.open(command(WORK_BYTES)))

    def __enter__(self) -> Self:
        try:
            self._process.init()
        except BaseException:
            self._process.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.close()

    def rates(self, how: str) -> tuple[float, ...]:
        """Return how fast the guest's own work goes, in accesses a second, one figure a sample.

        Samples while something else kept this machine busy are left out: they tell more of that than of lending. What
        lending itself costs the machine stays far below that limit.
        """
        rates: list[float] = []
        calm: list[float] = []
        while len(calm) < self._plan.work_samples and len(rates) < 2 * self._plan.work_samples:
            before_s = self._busy_elsewhere_s()
            done = self._process.run(Pattern.RANDOM_READ, block_bytes=_BLOCK_BYTES, seconds=self._plan.work_s)
            rates.append(done.operations / done.seconds)
            if self._busy_elsewhere_s() - before_s <= CALM_CORES * done.seconds:
                calm.append(rates[-1])
        if len(calm) < self._plan.work_samples:
            self._say(f"something else keeps this machine busy: {len(rates) - len(calm)} of {len(rates)} samples")
        kept = calm if len(calm) > self._plan.work_samples // 3 else rates
        self._say(f"{GUEST} works {how}: {median(kept):.0f} accesses a second")
        return tuple(kept)

    def demand(self) -> Thrash:
        """Return a second process, to be closed, that takes `DEMAND_BYTES` when it is initialised."""
        return Thrash(self._vm.shell.open(command(DEMAND_BYTES)))

    def fill_alone_s(self) -> float:
        """Return how long the guest takes to fill what it will demand, while it has all its memory."""
        with self.demand() as process:
            took_s = process.init().seconds
        self._say(f"{GUEST} fills {DEMAND_BYTES // MIB} MiB in {took_s:.2f} s, and frees it")
        return took_s

    def swapped_out_pages(self) -> int:
        """Return the pages that the guest's kernel has swapped out since it booted."""
        lines = self._vm.shell.run(["cat", "/proc/vmstat"]).stdout.splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("pswpout "))

    def _busy_elsewhere_s(self) -> float:
        """Return the CPU time that this machine has spent on anything but the guest."""
        machine, pid = psutil.cpu_times(), self._vm.pid
        guest = psutil.Process(pid).cpu_times() if pid is not None else None
        spent_s = sum(machine) - machine.idle - machine.iowait
        return float(spent_s - (guest.user + guest.system if guest is not None else 0.0))
