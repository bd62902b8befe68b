"""Memory as a file: the RAM file system and the images in it that a lender exports.

A page of an image is a page of the host's memory, so an image is written in full before it is lent: what does not fit
is noticed at once and not in the middle of a borrower's swap. An image's record lies beside it and dies with the memory
it describes. Used by the lender.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ramshare.errors import RamshareError
from ramshare.linux.memory import MemoryInfo, read_memory
from ramshare.linux.plain_file import create_plain, plain_size, read_plain
from ramshare.linux.proc import read, unescaped
from ramshare.linux.run import Runner
from ramshare.linux.swap import read_swaps

NOSWAP_KERNEL = (6, 4)
"""The first kernel whose tmpfs knows `noswap`."""
CHUNK_BYTES = 4 * 1024 * 1024
"""Written at a time; progress is reported and memory checked again after each."""
RESERVE_BYTES = 64 * 1024 * 1024
"""What must stay available whatever the caller's own reserve is: below it this host itself would start to reclaim."""

MAX_RECORD_BYTES = 64 * 1024
"""A record is less than one KiB."""

_IMAGE, _RECORD, _PARTIAL, _TEMPORARY = ".img", ".json", ".partial", ".tmp"
_ZEROS = memoryview(bytes(CHUNK_BYTES))


class RamdiskError(RamshareError):
    """The RAM file system could not be mounted, or an image not be made."""


class NotEnoughMemoryError(RamdiskError):
    """The image does not fit into what is available now."""


def choose_filesystem(*, has_swap: bool, kernel: tuple[int, int]) -> tuple[str, str]:
    """Return type and mount options: tmpfs (can give single pages back) where it is never swapped out, else ramfs."""
    if kernel >= NOSWAP_KERNEL:
        return "tmpfs", "mode=0700,size=100%,noswap"
    if not has_swap:
        return "tmpfs", "mode=0700,size=100%"
    return "ramfs", "mode=0700"


def kernel_version(release: str | None = None) -> tuple[int, int]:
    """Return major and minor of `release` (default: the running kernel)."""
    major, minor, *_ = (release or os.uname().release).split(".")
    return int(major), int(minor.split("-")[0])


class Ramdisk:
    """A RAM file system at `root` with one image and one record per lease."""

    def __init__(
        self,
        runner: Runner,
        root: Path,
        *,
        memory: Callable[[], MemoryInfo] = read_memory,
        mounts: Path = Path("/proc/self/mounts"),
    ) -> None:
        self._runner = runner
        self.root = root
        self._memory = memory
        self._mounts = mounts

    # The file system

    def filesystem(self) -> str | None:
        """Return the type of what is mounted at `root`, None for nothing."""
        kind = None
        for line in read(self._mounts).splitlines():
            _, place, found, *_ = [*line.split(" "), "", "", ""]
            if unescaped(place) == str(self.root):
                kind = found
        return kind

    @property
    def can_unmap(self) -> bool:
        """Whether an image can give single pages back (see `Export.thin`)."""
        return self.filesystem() == "tmpfs"

    def mount(self) -> str:
        """Mount the RAM file system if it is not there, and return its type. Raises `RamdiskError`, `CommandError`.

        What was being written when an earlier run died is removed: nobody else would ever give that memory back.
        """
        found = self.filesystem()
        if found in ("ramfs", "tmpfs"):
            for half in (*self.root.glob(f"*{_PARTIAL}"), *self.root.glob(f"*{_TEMPORARY}")):
                with contextlib.suppress(OSError):
                    half.unlink()
            return found
        if found is not None:
            raise RamdiskError(f"{self.root} is a mounted {found}, not a RAM file system", "choose another directory")
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        kind, options = choose_filesystem(has_swap=bool(read_swaps()), kernel=kernel_version())
        self._runner.run(["mount", "-t", kind, "-o", options, "ramshare", str(self.root)])
        return kind

    def umount(self) -> None:
        """Unmount an empty RAM file system; not mounted is success. Raises `RamdiskError` if images are left."""
        if self.filesystem() is None:
            return
        if left := self.images():
            raise RamdiskError(f"{self.root} still holds {len(left)} image(s)", "release the leases first")
        self._runner.run(["umount", str(self.root)])

    # Images

    def image(self, name: str) -> Path:
        """Return the path of the image `name`."""
        if not name or "/" in name or name.startswith("."):
            raise RamdiskError(f"not a name for an image: {name!r}")
        return self.root / f"{name}{_IMAGE}"

    def images(self) -> dict[str, int]:
        """Return name and size in bytes of every image; a link or a directory of such a name is none."""
        sizes = {path.stem: plain_size(path) for path in sorted(self.root.glob(f"*{_IMAGE}"))}
        return {name: size for name, size in sizes.items() if size is not None}

    def allocate(
        self,
        name: str,
        size_bytes: int,
        progress: Callable[[int], None] | None = None,
        *,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> Path:
        """Make an image of zeros, every page of it real memory, and return its path.

        `progress` gets the bytes written so far. Raises `NotEnoughMemoryError`, leaving nothing behind, when less than
        `reserve_bytes` would stay available. What had that name is replaced: its pages are somebody else's.
        """
        path = self.image(name)
        self._check_room(size_bytes, reserve_bytes)
        partial = path.with_suffix(_PARTIAL)
        try:
            with os.fdopen(create_plain(partial), "wb", buffering=0) as stream:
                self._fill(stream.fileno(), size_bytes, reserve_bytes, progress)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return path

    def free(self, name: str) -> None:
        """Delete the image and its record. The memory is back only when no logical unit holds the file open."""
        for path in (self.image(name), self.image(name).with_suffix(_PARTIAL), self.image(name).with_suffix(_RECORD)):
            path.unlink(missing_ok=True)

    # Records

    def write_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Write the image's record, at once or not at all, readable by root only (it may hold a secret)."""
        path = self.image(name).with_suffix(_RECORD)
        temporary = path.with_suffix(_TEMPORARY)
        with os.fdopen(create_plain(temporary), "w") as stream:
            json.dump(record, stream)
        temporary.replace(path)

    def records(self) -> dict[str, dict[str, Any]]:
        """Return every readable record by name; a broken one is left out (its image shows in `images`)."""
        found = {}
        for path in sorted(self.root.glob(f"*{_RECORD}")):
            with contextlib.suppress(OSError, ValueError, RecursionError):
                record = json.loads(read_plain(path, MAX_RECORD_BYTES))
                if isinstance(record, dict):
                    found[path.stem] = record
        return found

    def _fill(self, fd: int, size_bytes: int, reserve_bytes: int, progress: Callable[[int], None] | None) -> None:
        done = 0
        while done < size_bytes:
            done += os.write(fd, _ZEROS[: min(CHUNK_BYTES, size_bytes - done)])
            if progress:
                progress(done)
            self._check_room(0, reserve_bytes)

    def _check_room(self, size_bytes: int, reserve_bytes: int) -> None:
        available_bytes = self._memory().available_bytes
        if available_bytes - size_bytes < reserve_bytes:
            raise NotEnoughMemoryError(
                f"{size_bytes} bytes do not fit: {available_bytes} are available and {reserve_bytes} must stay so"
            )
