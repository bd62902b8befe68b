"""Reading `/proc` and `/sys` as they are: bytes, among them names that others chose and that need not be text.

A name that is no UTF-8 stays usable as a path (`surrogateescape`, as Python's own file functions have it).
"""

import re
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


def read(path: Path) -> str:
    """Return what the kernel says. Raises `OSError`."""
    return path.read_bytes().decode(errors="surrogateescape")


def unescaped(name: str) -> str:
    """Return a path of `/proc/mounts` or `/proc/swaps`, where blanks and backslashes are octal numbers."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), name)


def numbers(text: str) -> dict[str, int]:
    """Return the rows of a name and a whole number, as in `meminfo` and `vmstat`; others are left out."""
    found = {}
    for line in text.splitlines():
        name, number, *_ = [*line.replace(":", " ", 1).split(), "", ""]
        if number.isascii() and number.isdigit():
            found[name] = int(number)
    return found
