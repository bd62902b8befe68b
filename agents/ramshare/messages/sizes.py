"""How people write sizes (`512M`, `1.5GiB`, `4096`) and times (`90s`, `10m`, `2h`)."""

import re

from ramshare.messages.base import MAX_BYTES

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"^([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(?:i?B)?$", re.IGNORECASE)

_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"^([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(s|m|min|h|d)?$", re.IGNORECASE)


def parse_duration(text: str, most_s: float) -> float:
    """Return the seconds that a time names, more than zero. Raises `ValueError` saying what to write."""
    found = _DURATION.match(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a time; write for example 90s, 10m or 2h")
    duration_s = float(found[1]) * _SECONDS[(found[2] or "").lower()]
    if not 0 < duration_s <= most_s:
        raise ValueError(f"{text[:40]} is not more than nothing and at most {most_s / 3600:g} h")
    return duration_s


def parse_size(text: str) -> int:
    """Return the bytes that a size names, in powers of 1024. Raises `ValueError` saying what to write."""
    found = _SIZE.match(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a size; write for example 512M or 1.5G")
    size_bytes = round(float(found[1]) * _UNITS[found[2].upper()])
    if size_bytes <= 0:
        raise ValueError("a size must be more than zero")
    if size_bytes > MAX_BYTES:
        raise ValueError(f"{text[:40]} is more than any cluster has ({MAX_BYTES >> 40} TiB at most)")
    return size_bytes
