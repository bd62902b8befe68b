"""From the kernel's counters to one report of memory. Used by the monitor for a guest, by the lender for its host."""

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psutil

from ramshare.linux.memory import (
    PROC,
    MemoryInfo,
    MemoryPressure,
    PressureLine,
    VmCounters,
    read_counters,
    read_memory,
    read_pressure,
)
from ramshare.messages.base import MAX_RATE
from ramshare.messages.state import Memory

# What it cannot find out it warns of at each call; what is missing is shown as missing, which is enough.
warnings.filterwarnings("ignore", category=RuntimeWarning, module="psutil")

LEAST_SPAN_S = 0.5
"""Over less, one wait of a moment would look like lasting pressure."""


class Sampler(Protocol):
    """What agents know of it."""

    def sample(self) -> Memory:
        """Return the report of now. Reads files of `/proc`, which the kernel makes up: no disk is waited for."""
        ...


class MemorySampler:
    """Reads sizes by psutil, swap traffic, refaults and pressure from `/proc`, and makes rates of counters."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic, proc: Path = PROC) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._proc = proc
        self._before = read_counters(proc)
        self._before_s = clock()
        self._before_pressure = read_pressure(proc)

    def sample(self) -> Memory:
        """Return the report of now; rates are over the time since the last one.

        Raises `MemoryUnreadableError` where nobody says how much memory there is.
        """
        memory = read_sizes(self._proc)
        now, now_s = read_counters(self._proc), self._clock()
        span_s = max(1e-3, now_s - self._before_s)
        before, self._before, self._before_s = self._before, now, now_s
        pressure, pressure_before = read_pressure(self._proc), self._before_pressure
        self._before_pressure = pressure
        return Memory(
            total_bytes=memory.total_bytes,
            available_bytes=memory.available_bytes,
            used_bytes=memory.used_bytes,
            swap_total_bytes=memory.swap_total_bytes,
            swap_used_bytes=memory.swap_total_bytes - memory.swap_free_bytes,
            swap_in_bytes_s=_rate(now.swap_in_bytes, before.swap_in_bytes, span_s),
            swap_out_bytes_s=_rate(now.swap_out_bytes, before.swap_out_bytes, span_s),
            refaults_s=_refaults(now, before, span_s),
            psi_some_avg10=_percent(_some(pressure), _some(pressure_before), span_s),
            psi_full_avg10=_percent(_full(pressure), _full(pressure_before), span_s),
            interval_s=self._interval_s,
        )


def read_sizes(proc: Path = PROC) -> MemoryInfo:
    """Return the sizes of now. Raises `MemoryUnreadableError`.

    psutil knows what is available on kernels that do not say it (before 3.14). On what lxcfs shows it fails, or has
    more in use than there is (2**64 - 128 kB of free swap), so nothing is believed beyond its whole.
    """
    plain = read_memory(proc)
    others, psutil.PROCFS_PATH = psutil.PROCFS_PATH, str(proc)
    try:
        available_bytes = psutil.virtual_memory().available
    except (OSError, LookupError, ValueError, ArithmeticError):
        return plain
    finally:
        psutil.PROCFS_PATH = others
    return replace(plain, available_bytes=min(max(0, available_bytes), plain.total_bytes))


def _rate(now: int, before: int, span_s: float) -> float:
    """Return what was counted per second; a counter that went back (a container that moved) has counted nothing."""
    return min(MAX_RATE, max(0, now - before) / span_s)


def _refaults(now: VmCounters, before: VmCounters, span_s: float) -> float | None:
    if now.refaults is None or before.refaults is None:
        return None
    return _rate(now.refaults, before.refaults, span_s)


def _some(pressure: MemoryPressure | None) -> PressureLine | None:
    return pressure.some if pressure else None


def _full(pressure: MemoryPressure | None) -> PressureLine | None:
    return pressure.full if pressure else None


def _percent(now: PressureLine | None, before: PressureLine | None, span_s: float) -> float | None:
    """Return the kernel's average of 10 s, or the share of the time since the last sample if that is more.

    The average takes seconds to show what has just begun, and that is what a report out of turn is about.
    """
    if now is None:
        return None
    recent = (now.total_us - before.total_us) / (span_s * 1e4) if before is not None and span_s >= LEAST_SPAN_S else 0.0
    return min(100.0, max(now.avg10, recent))
