"""How large the kernel's requests are while it copies for LVM (dm-kcopyd: pvmove, that is).

A hard disk takes few requests a second, whatever their size, and a swap storm's share of them is small pages. The
kernel's own 512 KiB leave such a disk at half its speed as soon as somebody else writes. Used by the borrower.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from ramshare.linux.iscsi_sessions import SYS, queue_of
from ramshare.linux.proc import read

PARAMETER = Path("module/dm_mod/parameters/kcopyd_subjob_size_kb")
"""Since Linux 5.4. One for the whole machine, read when a copy's table is loaded."""
MOST_KIB = 1024
"""What the kernel takes at most (`MAX_SUB_JOB_SIZE_KB` in dm-kcopyd.c)."""
PAGE_KIB = 4
"""kcopyd's memory is single pages, each a segment of its own."""


def request_kib(limits: Iterable[tuple[int, int]]) -> int:
    """Return the largest request that each disk takes as one, from its `max_segments` and `max_sectors_kb`."""
    return min((MOST_KIB, *(min(segments * PAGE_KIB, kib) for segments, kib in limits)))


def copy_in_large_requests(devices: Iterable[str], sys: Path = SYS) -> int:
    """Have copies that begin from now on use the largest requests that `devices` take; return their size in KiB.

    Best effort: 0 if this kernel does not say or may not be told.
    """
    limits = []
    with contextlib.suppress(OSError, ValueError):
        for device in devices:
            queue = queue_of(os.path.realpath(device), sys)
            limits.append((int(read(queue / "max_segments")), int(read(queue / "max_sectors_kb"))))
        kib = request_kib(limits)
        (sys / PARAMETER).write_text(f"{kib}\n")
        return kib
    return 0
