"""Lets go of program code in memory that a small daemon needed only to start. Used by the monitor.

A monitor lives in every guest. Two fifths of its resident memory right after the start are pages of programs and
libraries (Python, OpenSSL, pydantic's core) that it touched once. Unmapped, they are ordinary page cache, the first
that the kernel takes when the guest needs memory; the few that are needed again come back by a minor fault.
"""

import contextlib
import ctypes
import gc
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.proc import read

_MADV_DONTNEED = 4
_M_ARENA_MAX = -8
"""From malloc.h of the GNU C library; others have neither `mallopt` nor `malloc_trim`, and are left alone."""
_RANGE = re.compile(r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<mode>\S{4}) \S+ \S+ (?P<inode>\d+)\s")


@dataclass(frozen=True)
class Mapping:
    """One mapping of a file of which no page was ever written: what is in the file is all there is."""

    start: int
    size_bytes: int


def clean_files(smaps: Iterable[str]) -> Iterator[Mapping]:
    """Yield the mappings in the lines of `/proc/PID/smaps` whose pages can be had again from a file.

    Not those that may be written, nor those that were (the linker writes relocations, then makes them read-only): their
    private pages exist nowhere else.
    """
    found: Mapping | None = None
    for line in smaps:
        if (head := _RANGE.match(line)) is not None:
            start, end = int(head["start"], 16), int(head["end"], 16)
            of_file = head["inode"] != "0" and "w" not in head["mode"]
            found = Mapping(start, end - start) if of_file else None
        elif found is not None and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                yield found
            found = None


def share_one_heap() -> None:
    """Have all threads that start from now on allocate from one heap; for few threads that allocate little."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def let_go(proc: Path = Path("/proc")) -> int:
    """Give free memory back, unmap clean file pages, and return the bytes of their mappings.

    What lives now is taken to live on, so the garbage collector need not look at it again. Where `smaps` is missing
    nothing is unmapped.
    """
    gc.collect()
    gc.freeze()
    try:
        mappings = list(clean_files(read(proc / "self/smaps").splitlines()))
    except OSError:
        return 0
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):
        libc.malloc_trim(0)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(each.size_bytes for each in mappings if libc.madvise(each.start, each.size_bytes, _MADV_DONTNEED) == 0)
