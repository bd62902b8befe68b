"""Memory held only to be let go: what a tool needs while it holds swap still cannot come from swap.

The kernel's own reserve does not help: whoever finds less than that free must first write pages out, to a device that
stands still until it has got its memory. Memory let go just before is free for all, and the processes that would take
it wait for the same swap. Used by the borrower around changes of a volume.
"""

import contextlib
import mmap
import threading
from collections.abc import Iterator

_PIECE_BYTES = 1 << 20


class Ballast:
    """So many bytes of this process, held from `fill` on, but not inside `dropped`."""

    def __init__(self, size_bytes: int = 0) -> None:
        """Take a size of 0 for none."""
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._held: list[mmap.mmap] | None = None
        """None while nothing is to be held."""

    @property
    def held_bytes(self) -> int:
        """How much is held now."""
        return len(self._held or ()) * _PIECE_BYTES

    def fill(self) -> None:
        """Begin to take the memory, on a thread of its own: while memory is short that waits for swap."""
        with self._lock:
            if self._held is None and self._size_bytes:
                self._held = []
                threading.Thread(target=self._take, args=(self._held,), name="ballast", daemon=True).start()

    def drop(self) -> None:
        """Let go of all that is held, at once."""
        with self._lock:
            held, self._held = self._held or [], None
        for piece in held:
            piece.close()

    @contextlib.contextmanager
    def dropped(self) -> Iterator[None]:
        """Hold nothing in the block; afterwards again what was to be held before."""
        wanted = self._held is not None
        self.drop()
        try:
            yield
        finally:
            if wanted:
                self.fill()

    def _take(self, held: list[mmap.mmap]) -> None:
        """Fill `held` page by page until it is no longer the one that is wanted."""
        for _ in range(self._size_bytes // _PIECE_BYTES):
            piece = mmap.mmap(-1, _PIECE_BYTES)
            for offset in range(0, _PIECE_BYTES, mmap.PAGESIZE):
                if self._held is not held:
                    break
                piece[offset] = 1
            with self._lock:
                if self._held is not held:
                    piece.close()
                    return
                held.append(piece)
