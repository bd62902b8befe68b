"""Keeps a process running while the host it lives on is out of memory.

A borrower's agent that waits for its own code to be swapped in from the disk that it is about to repair never wakes up
again; a lender's target that is swapped out stalls somebody else's swap. Used by the agents and the lab.
"""

import contextlib
import ctypes
import os
from pathlib import Path

from ramshare.linux.proc import read

MCL_CURRENT = 1
MCL_FUTURE = 2
MCL_ONFAULT = 4
OOM_NEVER = -1000
"""The `oom_score_adj` that exempts a process from the OOM killer."""


def lock_memory(*, on_fault: bool = False) -> bool:
    """Lock this process's memory, present and future; False if not permitted. `on_fault`: only what is touched."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = MCL_CURRENT | MCL_FUTURE | (MCL_ONFAULT if on_fault else 0)
    return bool(libc.mlockall(flags) == 0)


def protect_from_oom(pid: int | None = None, score: int = OOM_NEVER, proc: Path = Path("/proc")) -> bool:
    """Set the OOM score of `pid` (default: this process; inherited by children); False if not permitted."""
    try:
        (proc / str(pid or os.getpid()) / "oom_score_adj").write_text(f"{score}\n")
    except OSError:
        return False
    return True


def protect_threads_of(pid: int, score: int = OOM_NEVER, proc: Path = Path("/proc")) -> None:
    """Protect a daemon that somebody else started and those it forked, best effort."""
    protect_from_oom(pid, score, proc)
    with contextlib.suppress(OSError, ValueError):
        for child in read(proc / str(pid) / "task" / str(pid) / "children").split():
            protect_threads_of(int(child), score, proc)


def keep_out_of_swap(root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> bool:
    """See that neither this process nor what it starts is ever swapped out; False if it may be.

    Locked memory is not inherited: tools wait for their own pages, behind everything that is queued for a slow disk
    (seen: LVM for three minutes). A control group without swap is. A service manager sets it (`MemorySwapMax=0`); where
    none runs, this makes one.
    """
    try:
        path = next(line for line in read(proc / "self/cgroup").splitlines() if line.startswith("0::"))
        limit = root / path.removeprefix("0::").lstrip("/") / "memory.swap.max"
        if limit.exists() and read(limit).strip() == "0":
            return True
        if Path("/run/systemd/system").is_dir():
            return False
        (root / "cgroup.subtree_control").write_text("+memory")
        group = root / "ramshare"
        group.mkdir(exist_ok=True)
        (group / "memory.swap.max").write_text("0")
        (group / "cgroup.procs").write_text("0")
    except (OSError, StopIteration):
        return False
    return True


def come_first(nice: int = -5) -> bool:
    """Give this process and its children a larger share of the CPU; False if not permitted.

    Not a real-time priority: tools that look at every disk once a second would starve the kernel's own threads that do
    the I/O (seen on one emulated CPU: 80 MiB came home in 106 s with it, in 17 s without).
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError:
        return False
    return True


def keep_free(least_bytes: int, proc: Path = Path("/proc")) -> int:
    """Have the kernel keep at least so much memory free, never less than it does now; return what it keeps.

    A container that may not see that keeps nothing of its own.
    """
    knob = proc / "sys/vm/min_free_kbytes"
    try:
        now_kib = int(read(knob))
        if now_kib * 1024 >= least_bytes:
            return now_kib * 1024
        with contextlib.suppress(OSError):
            knob.write_text(f"{least_bytes // 1024}\n")
        return int(read(knob)) * 1024
    except (OSError, ValueError):
        return 0
