"""How a borrower's agent stays able to work while swap stalls: nothing it needs may have to be read in or swapped in.

Used by the borrower's host when it starts.
"""

import logging
from collections.abc import Iterable

from ramshare.linux.memory import read_memory
from ramshare.linux.pin import PinnedFiles
from ramshare.linux.protect import come_first, keep_free, keep_out_of_swap, lock_memory, protect_from_oom
from ramshare.linux.run import Runner

log = logging.getLogger(__name__)

KEPT_FREE_BYTES = 64 << 20
KEPT_FREE_SHARE = 20
"""The kernel is to keep 64 MiB free, of a small host the 20th part: while LVM has a volume suspended nothing is
freed, and LVM itself needs memory to resume it. 2 MiB (the default of a host of 320 MB) wedged it."""


def stay_resident(runner: Runner, pinned: PinnedFiles, tools: Iterable[str]) -> None:
    """Lock this process and, in `pinned`, its tools into memory; what cannot be had is logged."""
    if not (lock_memory(on_fault=True) and protect_from_oom()):
        log.warning("memory is not locked: while swap stalls this agent may stall too")
    if not keep_out_of_swap():
        log.warning("LVM and iscsiadm may be swapped out themselves: run this agent with MemorySwapMax=0")
    # PR_SET_IO_FLUSHER is not for this: an allocation that may not swap spins, and starves those who could help it.
    come_first()
    kept = keep_free(min(KEPT_FREE_BYTES, read_memory().available_bytes // KEPT_FREE_SHARE))
    log.info("the kernel keeps %d MiB free", kept >> 20)
    pinned.pin_tools(runner, tools)
