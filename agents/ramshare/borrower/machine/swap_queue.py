"""While a volume moves, few of the swap's own requests are under way, so that the copy gets the slow disk's time.

dm-mirror writes every page that is swapped out to a place already copied to both disks, one by one; a hard disk that
takes 120 requests a second is then busy with a storm's pages, and the copy, of which one region at a time is under way,
waits behind all of them each time it goes on to the next. A loop device's queue (`ramshare-swap@.service`) is where
that can be bounded: who swaps waits for a place in it. Applied after each look at a volume.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from ramshare.linux.proc import read
from ramshare.linux.swap import ROOT, active_swaps

log = logging.getLogger(__name__)

USUAL = 128
"""Of a loop device, by the kernel (`hw_queue_depth` in loop.c)."""
WHILE_MOVING = 8
"""As many as kcopyd has under way itself: of the disk's requests then at least half are the copy's, which are large."""


def fit_queue(volume: str, moving: bool, root: Path = ROOT) -> None:
    """Set how many requests the swap on `volume` (`VG/LV`) may have under way; nothing to do without a loop device."""
    wanted = WHILE_MOVING if moving else USUAL
    for setting in _settings(volume, root):
        with contextlib.suppress(OSError, ValueError):
            if int(read(setting)) != wanted:
                setting.write_text(f"{wanted}\n")
                log.info("%s: %d requests of swap at a time", volume, wanted)


def _settings(volume: str, root: Path) -> Iterator[Path]:
    for swap in active_swaps(f"/dev/{volume}", root):
        if swap.has_queue:
            yield root / "sys/block" / Path(swap.path).name / "queue/nr_requests"
