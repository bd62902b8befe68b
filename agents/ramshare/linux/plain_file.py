"""Files in a directory where others may have left anything: only plain ones are read, and what is written is new.

A symbolic link would lead elsewhere, a pipe would never end, a device would do who knows what.
"""

import os
import stat
from pathlib import Path


def read_plain(path: Path, most_bytes: int) -> bytes:
    """Return what a regular file holds. Raises `OSError`; `ValueError` for what is none, or is larger."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > most_bytes:
            raise ValueError("it is too large")
        return stream.read(most_bytes)


def create_plain(path: Path) -> int:
    """Return a descriptor to write a new file of mode 0600 by; what has that name is removed. Raises `OSError`."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def plain_size(path: Path) -> int | None:
    """Return the size of a regular file, None for anything else."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
