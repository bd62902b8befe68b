"""Which guests have which volumes as disks: the hypervisor says whose device, sysfs says what lies below it."""

import re
from collections.abc import Callable, Mapping

from ramshare.linux.dm import volume_below
from ramshare.linux.hypervisor import Hypervisor
from ramshare.messages.base import HOST_PATTERN, MAX_HOST_NAME

_NAME = re.compile(HOST_PATTERN)


class HypervisorsDisks:
    """Implements `api.GuestDisks`. One caller at a time, but for `stop`."""

    def __init__(self, hypervisor: Hypervisor, below: Callable[[str], str | None] = volume_below) -> None:
        """`below` returns the volume that a device is or lies on."""
        self.present = hypervisor.present
        self._hypervisor = hypervisor
        self._below = below

    def start(self, on_change: Callable[[], None]) -> None:
        """See `GuestDisks.start`."""
        self._hypervisor.start(on_change)

    def stop(self) -> None:
        """See `GuestDisks.stop`."""
        self._hypervisor.stop()

    def look(self) -> Mapping[str, tuple[str, ...]]:
        """See `GuestDisks.look`. Guests whose name no account can have are left out."""
        found: dict[str, set[str]] = {}
        for guest in self._hypervisor.guests():
            if guest.is_host or len(guest.name) > MAX_HOST_NAME or not _NAME.fullmatch(guest.name):
                continue
            for volume in {self._below(source) for source in guest.disks} - {None}:
                found.setdefault(str(volume), set()).add(guest.name)
        return {volume: tuple(sorted(names)) for volume, names in found.items()}
