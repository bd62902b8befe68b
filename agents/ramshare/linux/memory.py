"""The host's or guest's memory in numbers: sizes, swap traffic, refaults and pressure.

MemAvailable says nothing about hot page cache, so it comes with refaults and pressure (PSI) where the kernel has them;
what a kernel lacks is None and never an error. Used by the monitor and the lender.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ramshare.errors import RamshareError
from ramshare.linux.proc import numbers, read
from ramshare.messages.base import MAX_BYTES

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

DEFAULT_STALL_US = 150_000
DEFAULT_WINDOW_US = 1_000_000
"""The trigger `some 150000 1000000`: tasks waited for memory for 15 % of a second."""

UNPRIVILEGED_WINDOW_US = 2_000_000
"""Without CAP_SYS_RESOURCE kernels since 6.5 take only multiples of this window (EINVAL otherwise)."""


@dataclass(frozen=True)
class MemoryInfo:
    """`/proc/meminfo`, in bytes."""

    total_bytes: int
    free_bytes: int
    available_bytes: int
    cached_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int

    @property
    def used_bytes(self) -> int:
        """What cannot be handed out without pushing something out."""
        return self.total_bytes - self.available_bytes


@dataclass(frozen=True)
class VmCounters:
    """Counters since boot from `/proc/vmstat`; the caller makes rates of them."""

    swap_in_bytes: int
    swap_out_bytes: int
    refaults: int | None
    """Pages read back soon after they were dropped: the sign of a page cache that is too small."""
    major_faults: int
    oom_kills: int | None


@dataclass(frozen=True)
class PressureLine:
    """One line of a PSI file: percent of the last 10, 60 and 300 s, and microseconds since boot."""

    avg10: float
    avg60: float
    avg300: float
    total_us: int


@dataclass(frozen=True)
class MemoryPressure:
    """PSI for memory: time that some, or all, tasks waited for it."""

    some: PressureLine
    full: PressureLine | None


class MemoryUnreadableError(RamshareError):
    """The kernel, or what stands for it in a container, does not say how much memory there is."""


def read_memory(proc: Path = PROC) -> MemoryInfo:
    """Return the sizes of now. Raises `MemoryUnreadableError`.

    lxcfs shows free swap of minus a little (2**64 - 128 kB), and its files lag behind each other: nothing is more than
    its whole.
    """
    try:
        values = numbers(read(proc / "meminfo"))
    except OSError as error:
        raise MemoryUnreadableError(f"cannot read {proc / 'meminfo'}: {error.strerror}") from error
    total = _size_bytes(values, "MemTotal", MAX_BYTES)
    if total == 0:
        raise MemoryUnreadableError(f"{proc / 'meminfo'} does not say how much memory there is")
    free = _size_bytes(values, "MemFree", total)
    swap_total = _size_bytes(values, "SwapTotal", MAX_BYTES)
    return MemoryInfo(
        total_bytes=total,
        free_bytes=free,
        available_bytes=_size_bytes(values, "MemAvailable", total) if "MemAvailable" in values else free,
        cached_bytes=_size_bytes(values, "Cached", total),
        swap_total_bytes=swap_total,
        swap_free_bytes=_size_bytes(values, "SwapFree", swap_total),
    )


def _size_bytes(values: Mapping[str, int], name: str, most: int) -> int:
    """Return a size of `meminfo`, which counts in kB whether it says so or not; at most `most`, none where missing."""
    return min(values.get(name, 0) * 1024, most)


def read_counters(proc: Path = PROC) -> VmCounters:
    """Return the counters of now; zero, or None, for what this kernel or container does not count."""
    try:
        values = numbers(read(proc / "vmstat"))
    except OSError:
        values = {}
    # One counter up to kernel 5.8, then split in two.
    refaults = [values[name] for name in _REFAULTS if name in values]
    return VmCounters(
        swap_in_bytes=values.get("pswpin", 0) * _PAGE_BYTES,
        swap_out_bytes=values.get("pswpout", 0) * _PAGE_BYTES,
        refaults=sum(refaults) if refaults else None,
        major_faults=values.get("pgmajfault", 0),
        oom_kills=values.get("oom_kill"),
    )


_REFAULTS = ("workingset_refault", "workingset_refault_anon", "workingset_refault_file")


def read_pressure(proc: Path = PROC) -> MemoryPressure | None:
    """Return memory PSI, None where the kernel has none or it is off (`psi=1` turns it on)."""
    try:
        text = read(proc / "pressure/memory")
    except OSError:
        return None
    lines = {line.split()[0]: _pressure(line) for line in text.splitlines() if line.strip()}
    some = lines.get("some")
    return MemoryPressure(some, lines.get("full")) if some else None


class PressureTrigger:
    """A file that polls readable (POLLPRI) each time tasks waited for memory too long within a window.

    Register it for `POLLPRI` (`EPOLLPRI`); it must stay open. Where the kernel wants a longer window, the same share of
    that one is used. Raises `OSError` where PSI is missing or not permitted.
    """

    def __init__(
        self,
        stall_us: int = DEFAULT_STALL_US,
        window_us: int = DEFAULT_WINDOW_US,
        proc: Path = PROC,
        *,
        full: bool = False,
    ) -> None:
        kind = "full" if full else "some"
        self._fd = os.open(proc / "pressure/memory", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            try:
                os.write(self._fd, f"{kind} {stall_us} {window_us}\0".encode())
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                window_us, asked_us = -(-window_us // UNPRIVILEGED_WINDOW_US) * UNPRIVILEGED_WINDOW_US, window_us
                os.write(self._fd, f"{kind} {stall_us * window_us // asked_us} {window_us}\0".encode())
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._fd

    def close(self) -> None:
        """Remove the trigger."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "PressureTrigger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pressure(line: str) -> PressureLine | None:
    """Return the numbers of a line, None if it does not say them all."""
    values = dict(part.partition("=")[::2] for part in line.split()[1:])
    try:
        found = PressureLine(
            float(values["avg10"]), float(values["avg60"]), float(values["avg300"]), int(values["total"])
        )
    except (KeyError, ValueError):
        return None
    return found if all(0 <= part <= 100 for part in (found.avg10, found.avg60, found.avg300)) else None
