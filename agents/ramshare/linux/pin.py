"""Keeps the programs that a repair needs in memory, with their libraries.

While swap stalls, a tool whose code has been dropped from the page cache takes seconds per page to come back, or never
does when the stalled disk is the one it lies on. The borrower maps and locks them once; started later, they share those
pages. Used by the borrower and the lender.
"""

import contextlib
import logging
import mmap
import re
from collections.abc import Iterable
from pathlib import Path

from ramshare.linux.run import CommandError, Commands, find_tool

log = logging.getLogger(__name__)

_LIBRARY = re.compile(r"(?:=>\s*)?(/[^\s:]+)\s+\(0x[0-9a-f]+\)")


def libraries(ldd_output: str) -> set[str]:
    """Return the files named in what `ldd` printed."""
    return set(_LIBRARY.findall(ldd_output))


class PinnedFiles:
    """Files whose pages stay in the page cache as long as this object lives (with `protect.lock_memory` before)."""

    def __init__(self) -> None:
        self._maps: dict[str, mmap.mmap] = {}

    @property
    def size_bytes(self) -> int:
        """How much is held."""
        return sum(len(mapped) for mapped in self._maps.values())

    def pin_tools(self, runner: Commands, tools: Iterable[str]) -> None:
        """Hold these programs and the libraries that `ldd` names; what is missing is passed over."""
        programs = sorted({str(Path(path).resolve()) for tool in tools if (path := find_tool(tool))})
        for path in programs:
            self._pin(path)
        with contextlib.suppress(CommandError):
            for path in sorted(libraries(runner.run(["ldd", *programs], ok=(0, 1)).stdout)):
                self._pin(path)
        log.info("holding %d files of %d KiB in memory", len(self._maps), self.size_bytes >> 10)

    def _pin(self, path: str) -> None:
        """Map the file and touch every page; memory locked with `MCL_FUTURE` stays once it is touched."""
        if path in self._maps:
            return
        with contextlib.suppress(OSError, ValueError), Path(path).open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
            sum(mapped[:: mmap.PAGESIZE])
            self._maps[path] = mapped
