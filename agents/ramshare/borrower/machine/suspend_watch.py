"""Resumes devices that a tool left suspended when it died: whoever swaps to one waits for ever.

On a thread of its own. The worker may be in the middle of a command that waits for that very device, and the loop
starts no process.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection

from ramshare.errors import RamshareError
from ramshare.linux.dm import Dmsetup, suspended_names
from ramshare.linux.lvm_names import is_device_of, split_volume

log = logging.getLogger(__name__)

LOOK_S = 1.0
SUSPENDED_MOST_S = 15.0
"""LVM suspends for milliseconds; a device that stays so was left behind by a tool that died, and swap stalls on it."""


class SuspendWatch:
    """Looks after the devices of the volumes that it was last told of."""

    def __init__(
        self,
        dm: Dmsetup,
        suspended: Callable[[], Collection[str]] = suspended_names,
        clock: Callable[[], float] = time.monotonic,
        look_every_s: float = LOOK_S,
    ) -> None:
        """`suspended` returns the names of the devices that are suspended now."""
        self._dm = dm
        self._suspended = suspended
        self._clock = clock
        self._look_every_s = look_every_s
        self._volumes: tuple[tuple[str, str], ...] = ()
        self._since_s: dict[str, float] = {}
        self._stopping = threading.Event()

    def mind(self, volumes: Collection[str]) -> None:
        """Look after these volumes and their legs from now on; for the loop."""
        self._volumes = tuple(split_volume(volume) for volume in volumes)

    def start(self, on_resumed: Callable[[str], None]) -> None:
        """Begin to look; `on_resumed` is called on the watch's thread with the name of a device."""
        threading.Thread(target=self._run, args=(on_resumed,), name="suspended devices", daemon=True).start()

    def stop(self) -> None:
        """End. Idempotent."""
        self._stopping.set()

    def look(self) -> list[str]:
        """Resume what has been suspended for too long, and return it."""
        now_s, volumes = self._clock(), self._volumes
        found = {name for name in self._suspended() if any(is_device_of(name, vg, lv) for vg, lv in volumes)}
        self._since_s = {name: self._since_s.get(name, now_s) for name in found}
        stuck = sorted(name for name, since_s in self._since_s.items() if now_s - since_s > SUSPENDED_MOST_S)
        for name in stuck:
            self._dm.resume(name)
        return stuck

    def _run(self, on_resumed: Callable[[str], None]) -> None:
        while not self._stopping.wait(self._look_every_s):
            try:
                for name in self.look():
                    on_resumed(name)
            except (RamshareError, OSError) as error:
                log.error("a suspended device stays so: %s", error)
