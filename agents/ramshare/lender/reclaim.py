"""Which leases to ask back when less can be lent than is lent. Pure."""

from collections.abc import Mapping
from itertools import combinations

EXACT_UP_TO = 12
"""Leases up to which every subset is tried (4,096 of them); beyond, the largest go first."""


def smallest_sufficient(sizes: Mapping[str, int], need_bytes: int) -> tuple[str, ...]:
    """Return the leases whose sum is the least that covers `need_bytes`, fewest first; all if nothing covers it."""
    if need_bytes <= 0:
        return ()
    if sum(sizes.values()) <= need_bytes:
        return tuple(sorted(sizes))
    if len(sizes) <= EXACT_UP_TO:
        sets = (c for n in range(1, len(sizes) + 1) for c in combinations(sorted(sizes), n))
        enough = (c for c in sets if sum(sizes[x] for x in c) >= need_bytes)
        return min(enough, key=lambda c: (sum(sizes[x] for x in c), len(c), c))
    chosen: list[str] = []
    for lease in sorted(sizes, key=lambda x: (-sizes[x], x)):
        if sum(sizes[x] for x in chosen) >= need_bytes:
            break
        chosen.append(lease)
    return tuple(sorted(chosen))
