"""Swap: which devices the kernel swaps to, and whether a volume is formatted for it.

A swap signature or an active swap is the only proof that a volume is one that ramshare may move. Used by the borrower
and, for its size, by the lender.

A host whose swap is mirrored swaps to its volume through a loop device. Logical volumes have no request queue, so
nothing bounds what the kernel writes to one that is slow or held still: pages of 100 MB waited, and reads with them
(stalls of two minutes when a lender died). A loop device has a queue of 128 requests whose writeback throttle lets
reads pass. A guest's disk needs none: its virtual disk is such a queue. A volume that is moved must not have one:
pvmove's own process holds it still while it needs memory, which nobody can free behind a full queue (seen: a host of
320 MB wedged).
"""

import contextlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.proc import read, unescaped
from ramshare.linux.run import Commands

PROC = Path("/proc")
SYS = Path("/sys")
_SIGNATURES = (b"SWAPSPACE2", b"SWAP-SPACE")
_LOOP_MAJOR = 7
"""Of loop devices (Linux' list of allocated devices)."""


@dataclass(frozen=True)
class Swap:
    """An active swap area."""

    path: str
    """As the kernel names it; for a logical volume `/dev/dm-N` or `/dev/mapper/VG-LV`."""
    kind: str
    size_bytes: int
    used_bytes: int
    priority: int

    @property
    def has_queue(self) -> bool:
        """Whether it is a loop device."""
        return _loop_number(self.path) is not None


@dataclass(frozen=True)
class SwapUse:
    """How a device is swapped to."""

    is_swap: bool
    """It is active or at least formatted."""
    has_queue: bool
    """It is active through a loop device."""


def read_swaps(proc: Path = PROC) -> list[Swap]:
    """Return the active swap areas; none if the kernel has no swap."""
    try:
        lines = read(proc / "swaps").splitlines()
    except FileNotFoundError:
        return []
    return [swap for line in lines[1:] if (swap := _swap(line)) is not None]


def active_swap(device: str, proc: Path = PROC) -> Swap | None:
    """Return the active swap area on `device`, direct or by loop, by any name (`/dev/VG/LV`, `/dev/mapper/…`)."""
    wanted = _identity(device)
    return next((swap for swap in read_swaps(proc) if _identity(swap.path) == wanted), None)


def is_formatted(device: str) -> bool:
    """Whether `device` has a swap signature (for this machine's page size). Raises `OSError` if it is unreadable."""
    with Path(device).open("rb") as stream:
        stream.seek(mmap.PAGESIZE - 10)
        return stream.read(10) in _SIGNATURES


def swap_use(device: str, proc: Path = PROC) -> SwapUse:
    """Return how the kernel swaps to `device`, if it does. Raises `OSError` if it is unreadable."""
    active = active_swap(device, proc)
    return SwapUse(active is not None or is_formatted(device), active is not None and active.has_queue)


def any_queue(proc: Path = PROC) -> bool:
    """Whether the kernel swaps through any loop device."""
    return any(active.has_queue for active in read_swaps(proc))


def turn_off(runner: Commands, device: str) -> None:
    """Bring every page back into memory, stop swapping to `device` and end its loop device; not active is success.

    Needs as much free memory as is swapped out: the OOM killer takes `swapoff` itself first. Pages that cannot be read
    are lost, and only whoever touches one is killed (kernel 5.19 and later).
    """
    active = active_swap(device)
    if active is not None:
        runner.run(["swapoff", active.path], timeout_s=3600.0)
        if active.has_queue:
            runner.run(["losetup", "--detach", active.path])


def format_and_turn_on(runner: Commands, device: str, priority: int | None = None) -> None:
    """Write a fresh swap signature and swap to `device`."""
    runner.run(["mkswap", device])
    options = [] if priority is None or priority < 0 else ["--priority", str(priority)]
    runner.run(["swapon", *options, device])


def _swap(line: str) -> Swap | None:
    """Return the area of one line, None for what is no such line. No more is used than there is."""
    try:
        path, kind, *numbers = line.rsplit(maxsplit=4)
        size_kib, used_kib, priority = map(int, numbers)
    except ValueError:
        return None
    return Swap(unescaped(path.strip()), kind, size_kib * 1024, max(0, min(used_kib, size_kib)) * 1024, priority)


def _identity(path: str) -> tuple[int, int] | str:
    """What tells two names of one device apart from two devices: the device number, else the resolved path.

    A loop device stands for what it is over.
    """
    try:
        status = Path(path).stat()
    except OSError:
        return os.path.realpath(path)
    loop = _loop_number(path)
    if loop is not None:
        with contextlib.suppress(OSError):
            return _identity(read(SYS / f"dev/block/{_LOOP_MAJOR}:{loop}/loop/backing_file").strip())
    return (0, status.st_rdev) if status.st_rdev else (status.st_dev, status.st_ino)


def _loop_number(path: str) -> int | None:
    """Return the number of a loop device, None for anything else."""
    try:
        number = Path(path).stat().st_rdev
    except OSError:
        return None
    return os.minor(number) if os.major(number) == _LOOP_MAJOR else None
