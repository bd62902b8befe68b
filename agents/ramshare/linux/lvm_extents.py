"""Stretches of extents, as LVM prints and takes them: `/dev/vda:0-511`. Pure.

A kernel that swaps to a hard disk fills a volume from its low end (`scan_swap_map_slots` begins at the lowest free
slot), so the first extents of a volume hold most pages as long as it is not full. Nothing tells which ones do more
cheaply: `/proc/swaps` has totals only. Used by `Lvm.start_move`.
"""

import re

_RANGE = re.compile(r"(?P<pv>\S+):(?P<first>\d+)-(?P<last>\d+)")


def first_extents(report: str, pv: str, count: int) -> str:
    """Return `pv` with the ranges of a volume's first `count` extents there, in the form that pvmove takes.

    `report` is a volume's `seg_pe_ranges`, a segment each line, in the volume's order. Fewer if there are fewer.
    """
    ranges: list[str] = []
    for match in _RANGE.finditer(report):
        if match["pv"] != pv or count <= 0:
            continue
        first, last = int(match["first"]), int(match["last"])
        last = min(last, first + count - 1)
        count -= last - first + 1
        ranges.append(f"{first}-{last}")
    return ":".join([pv, *ranges])
