"""How long a disk takes to answer small reads now: `O_DIRECT`, past every cache, at places chosen at random.

That is what a page that is swapped in waits for. Used by the borrower before it puts a volume on a lease.
"""

import contextlib
import mmap
import os
import random
import threading
import time

from ramshare.errors import RamshareError

READ_BYTES = 4096
READS = 16
"""More than a disk with a burst to spend gives away; on a hard disk in a storm they take a second or two."""
WITHIN_S = 4.0
"""A disk that takes longer for all of them is slow enough to be judged by those that it answered."""


def read_times_s(device: str, reads: int = READS, within_s: float = WITHIN_S) -> list[float]:
    """Return how long each read took; one that is under way when the time is over counts with all of it.

    Raises `RamshareError` if the device answers none within the time, or fails.

    The reads are made on a thread of their own: one that hangs holds nobody up longer than that.
    """
    times_s: list[float] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            with contextlib.closing(_Disk(device)) as disk:
                for _ in range(reads):
                    began_s = time.monotonic()
                    disk.read_somewhere()
                    times_s.append(time.monotonic() - began_s)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="direct-read", daemon=True)
    thread.start()
    thread.join(within_s)
    if failed:
        raise RamshareError(f"cannot read {device}: {failed[0].strerror or failed[0]}")
    done = list(times_s)
    if not done:
        raise RamshareError(f"{device} answered no read within {within_s:g} s")
    return done if len(done) == reads else [*done, within_s]


class _Disk:
    """A block device opened past the page cache."""

    def __init__(self, device: str) -> None:
        self._fd = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        self._blocks = max(1, os.lseek(self._fd, 0, os.SEEK_END) // READ_BYTES)
        self._page = mmap.mmap(-1, READ_BYTES)
        """Aligned, as `O_DIRECT` asks for."""

    def read_somewhere(self) -> None:
        """Read one page. Raises `OSError`."""
        os.preadv(self._fd, [self._page], random.randrange(self._blocks) * READ_BYTES)

    def close(self) -> None:
        """Let go of the device."""
        self._page.close()
        os.close(self._fd)
