"""From the kernel's counters to one report of memory. Used by the monitor for a guest, by the lender for its host."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from ramshare.linux.memory import PROC, VmCounters, read_counters, read_pressure
from ramshare.messages.state import Memory


class MemorySampler:
    """Reads sizes by psutil, swap traffic, refaults and pressure from `/proc`, and makes rates of counters."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic, proc: Path = PROC) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._proc = proc
        self._before = read_counters(proc)
        self._before_s = clock()

    def sample(self) -> Memory:
        """Return the report of now; rates are over the time since the last one."""
        now, now_s = read_counters(self._proc), self._clock()
        span_s = max(1e-3, now_s - self._before_s)
        before, self._before, self._before_s = self._before, now, now_s
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        available = min(memory.available, memory.total)
        pressure = read_pressure(self._proc)
        return Memory(
            total_bytes=memory.total,
            available_bytes=available,
            used_bytes=memory.total - available,
            swap_total_bytes=swap.total,
            swap_used_bytes=swap.used,
            swap_in_bytes_s=max(0, now.swap_in_bytes - before.swap_in_bytes) / span_s,
            swap_out_bytes_s=max(0, now.swap_out_bytes - before.swap_out_bytes) / span_s,
            refaults_s=_refaults(now, before, span_s),
            psi_some_avg10=pressure.some.avg10 if pressure else None,
            psi_full_avg10=pressure.full.avg10 if pressure and pressure.full else None,
            interval_s=self._interval_s,
        )


def _refaults(now: VmCounters, before: VmCounters, span_s: float) -> float | None:
    if now.refaults is None or before.refaults is None:
        return None
    return max(0, now.refaults - before.refaults) / span_s
