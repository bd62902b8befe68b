"""While a volume moves, few requests wait at the local disk, so that the copy's are among the next that it takes.

A hard disk takes some 100 requests a second, whatever their size. dm-mirror writes every page that is swapped out to a
place already copied to both disks, one by one, and hands them on in the same thread that begins the next region: behind
a long queue of a storm's pages, or a throttle of write-back (wbt) that thread waits in, the copy stands still (measured
with half of a storm's accesses writes, 248 MiB home: 28 s, so 10 s). Shorter still is worse: memory is then freed so
slowly that LVM's own tools wait for it. Applied after each look at a volume.
"""

from collections.abc import Callable, Iterable, Mapping

from ramshare.linux.iscsi_sessions import queue_settings, tune_disk

WHILE_MOVING = {"nr_requests": "16", "wbt_lat_usec": "0"}
"""Twice as many requests as the copy itself has under way (kcopyd: 8), each as large as the disk takes."""
USUAL = {"nr_requests": "128", "wbt_lat_usec": "-1"}
"""The kernel's own (`BLKDEV_DEFAULT_RQ`; -1: its default for the disk), if an agent died that knew what was before."""


class DiskQueues:
    """Knows what the disks' queues were like before moves."""

    def __init__(
        self,
        tune: Callable[[str, Mapping[str, str]], object] = tune_disk,
        settings: Callable[[str, Iterable[str]], dict[str, str]] = queue_settings,
    ) -> None:
        self._tune = tune
        self._settings = settings
        self._before: dict[str, dict[str, str]] = {}

    def fit(self, disks: Iterable[str], *, moving: bool) -> None:
        """Shorten the queues of `disks` for a move, or give them back what they had; nothing to do is no work."""
        for disk in disks:
            now = self._settings(disk, WHILE_MOVING)
            short = now.get("nr_requests") == WHILE_MOVING["nr_requests"]
            if moving and not short:
                self._before[disk] = {name: value for name, value in now.items() if value}
                self._tune(disk, WHILE_MOVING)
            elif short and not moving:
                self._tune(disk, {**USUAL, **self._before.pop(disk, {})})
