"""Swap: which devices the kernel swaps to, and whether a volume is formatted for it.

A swap signature or an active swap is the only proof that a volume is one that ramshare may move. Used by the borrower
and, for its size, by the lender.

A host swaps to its volume through a loop device. Logical volumes have no request queue, so nothing bounds what the
kernel writes to one that is slow or held still: pages of 100 MB waited, and reads with them (stalls of two minutes when
a lender died; hosts of 320 MB that a move wedged). A loop device has a queue of 128 requests whose writeback throttle
lets reads pass. A guest's disk needs none: its virtual disk is such a queue. What LVM's tools need while they hold the
volume still cannot come from behind a full queue: see `ballast.py`.
"""

import contextlib
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.dm import Dmsetup
from ramshare.linux.memory import read_memory
from ramshare.linux.proc import read, unescaped
from ramshare.linux.run import Commands

PROC = Path("/proc")
ROOT = Path("/")
_SIGNATURES = (b"SWAPSPACE2", b"SWAP-SPACE")
_LOOP = re.compile(r"/dev/loop(\d+)")
SWAPOFF_TIMEOUT_S = 3600.0
MARGIN_BYTES = 32 << 20
"""Left free beside what a swapoff brings back, or the OOM killer would end the swapoff."""

Identity = tuple[int, int] | str
"""A block device's number behind a zero, a file's device and inode, or words: a path that is not there, a part."""


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
    active: tuple[str, ...] = ()
    """Under which names; see `active_swaps`."""


def read_swaps(proc: Path = PROC) -> list[Swap]:
    """Return the active swap areas; none if the kernel has no swap."""
    try:
        lines = read(proc / "swaps").splitlines()
    except FileNotFoundError:
        return []
    return [swap for line in lines[1:] if (swap := _swap(line)) is not None]


def active_swaps(device: str, root: Path = ROOT) -> list[Swap]:
    """Return the active swap areas on `device`, direct or by loop, by any name (`/dev/VG/LV`, `/dev/mapper/…`).

    More than one is a disaster under way: the kernel takes a volume and a loop device over it, and each overwrites the
    other's pages.
    """
    wanted = identity(device, root)
    return [swap for swap in read_swaps(root / "proc") if identity(swap.path, root) == wanted]


def active_swap(device: str, root: Path = ROOT) -> Swap | None:
    """Return the first of `active_swaps`."""
    return next(iter(active_swaps(device, root)), None)


def is_formatted(device: str) -> bool:
    """Whether `device` has a swap signature (for this machine's page size). Raises `OSError` if it is unreadable."""
    with Path(device).open("rb") as stream:
        stream.seek(mmap.PAGESIZE - 10)
        return stream.read(10) in _SIGNATURES


def swap_use(device: str, root: Path = ROOT) -> SwapUse:
    """Return how the kernel swaps to `device`, if it does. Raises `OSError` if it is unreadable."""
    active = active_swaps(device, root)
    is_swap = bool(active) or is_formatted(str(root / device.lstrip("/")))
    return SwapUse(is_swap, any(swap.has_queue for swap in active), tuple(swap.path for swap in active))


def any_queue(proc: Path = PROC) -> bool:
    """Whether the kernel swaps through any loop device."""
    return any(active.has_queue for active in read_swaps(proc))


def turn_off(runner: Commands, device: str, timeout_s: float = SWAPOFF_TIMEOUT_S) -> None:
    """Bring every page back into memory, stop swapping to `device` and end its loop device; not active is success.

    What `ramshare-swap@.service` claims the volume with goes too.

    Needs as much free memory as is swapped out: the OOM killer takes `swapoff` itself first. Pages that cannot be read
    are lost, and only whoever touches one is killed (kernel 5.19 and later).
    """
    active = active_swap(device)
    if active is not None:
        runner.run(["swapoff", active.path], timeout_s=timeout_s)
        if active.has_queue:
            runner.run(["losetup", "--detach", active.path])
            claim = claim_on(device)
            if claim is not None:
                Dmsetup(runner).remove(claim)


def turn_off_if_it_fits(runner: Commands, device: str, timeout_s: float) -> bool:
    """Turn the swap on `device` off if its pages fit into memory; return whether that was so. Raises `CommandError`."""
    active = active_swap(device)
    if active is None or active.used_bytes + MARGIN_BYTES > read_memory().available_bytes:
        return False
    turn_off(runner, device, timeout_s)
    return True


def claim_on(device: str, sys: Path = Path("/sys")) -> str | None:
    """Return the device-mapper name by which `ramshare-swap@.service` claims a volume; None if it does not."""
    with contextlib.suppress(OSError):
        number = Path(device).stat().st_rdev
        block = sys / f"dev/block/{os.major(number)}:{os.minor(number)}"
        claim = f"ramshare:{(block / 'dm/name').read_text().strip()}"
        for holder in (block / "holders").iterdir():
            if (holder / "dm/name").read_text().strip() == claim:
                return claim
    return None


def format_and_turn_on(runner: Commands, device: str, before: Swap | None = None, claim: str | None = None) -> None:
    """Write a fresh swap signature and swap to `device`, in the way that it was swapped to `before`.

    `claim` is the name by which it was claimed (`claim_on`), as `ramshare-swap@.service` does.
    """
    runner.run(["mkswap", device])
    through = device
    if before is not None and before.has_queue:
        if claim is not None:
            sectors = int(runner.run(["blockdev", "--getss", device]).stdout) // 512
            table = f"0 {sectors} linear {device} 0"
            runner.run(["dmsetup", "create", claim, "--readonly", "--table", table])
        through = runner.run(["losetup", "--find", "--show", "--direct-io=on", device]).stdout.strip()
    options = ["--priority", str(before.priority)] if before is not None and before.priority >= 0 else []
    runner.run(["swapon", *options, through])


def _swap(line: str) -> Swap | None:
    """Return the area of one line, None for what is no such line. No more is used than there is."""
    try:
        path, kind, *numbers = line.rsplit(maxsplit=4)
        size_kib, used_kib, priority = map(int, numbers)
    except ValueError:
        return None
    return Swap(unescaped(path.strip()), kind, size_kib * 1024, max(0, min(used_kib, size_kib)) * 1024, priority)


def identity(path: str, root: Path = ROOT) -> Identity:
    """Return what two names of one device have in common, and two devices have not.

    A loop device stands for what it is over (one that begins further on, for that part of it), a swap file for itself.
    `root` is where `dev`, `proc` and `sys` lie.
    """
    there = root / path.lstrip("/")
    loop = _loop_number(f"/{os.path.relpath(os.path.realpath(there), os.path.realpath(root))}")
    if loop is not None:
        settings = root / f"sys/block/loop{loop}/loop"
        with contextlib.suppress(OSError):
            backing = identity(read(settings / "backing_file").strip(), root)
            offset = int((settings / "offset").read_text())
            return f"{backing}+{offset}" if offset else backing
    try:
        status = there.stat()
    except OSError:
        return os.path.realpath(there)
    return (0, status.st_rdev) if status.st_rdev else (status.st_dev, status.st_ino)


def _loop_number(path: str) -> int | None:
    """Return the number of a loop device by its kernel name, None for anything else."""
    match = _LOOP.fullmatch(path)
    return int(match[1]) if match else None
