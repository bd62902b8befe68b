"""What the lender knows of the guests on its host, whoever runs them. `libvirt_guests.py` asks libvirt.

`NullHypervisor` is the host that runs no guests, or none that anybody can ask about: nothing is ballooned there, and
only the host's own free memory is lent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ramshare.errors import RamshareError


class HypervisorError(RamshareError):
    """The hypervisor does not answer, or refused."""


@dataclass(frozen=True)
class BalloonNote:
    """What we did to a guest's balloon, kept with the guest: it outlives our agent and migrates with the guest."""

    most_bytes: int
    """What the guest had before, and may have again."""
    asked_bytes: int
    """What it was last asked to have."""


@dataclass(frozen=True)
class Guest:
    """One running guest as its hypervisor sees it. A guest that is only on its way here (migration) is none yet."""

    uuid: str
    name: str
    """Its monitor must report as `guest.<name>`."""
    max_bytes: int
    """What it has with its balloon empty; its owner may never have meant it to have so much."""
    actual_bytes: int
    """What it has now; the balloon holds the rest."""
    floor_bytes: int = 0
    """What the hypervisor's own configuration guarantees it."""
    resident_bytes: int | None = None
    """What of it the host really holds; a guest that has just started has touched little. None: unknown, or all."""
    left_alone: str = ""
    """Why its balloon must not be used, empty if it may be."""
    is_host: bool = False
    """It is no guest but the host itself, as Xen lists it (Domain-0)."""
    disks: tuple[str, ...] = ()
    """The host's block devices that it writes to, as its definition names them."""
    run: int = 0
    """Changes when the guest is started anew."""
    note: BalloonNote | None = None
    """As it was when this run of the guest was first looked at."""

    @property
    def untouched_bytes(self) -> int:
        """What it may still claim without asking anybody: memory that looks free on the host and is not."""
        return max(0, self.actual_bytes - (self.actual_bytes if self.resident_bytes is None else self.resident_bytes))


class Hypervisor(Protocol):
    """The calls may block for seconds: not on an agent's loop. All but `start` and `stop` raise `HypervisorError`."""

    present: bool
    """Whether there is one at all."""

    def start(self, on_change: Callable[[], None]) -> None:
        """Call `on_change`, on another thread, when a guest starts, stops, arrives or leaves."""
        ...

    def stop(self) -> None:
        """Let go of the hypervisor; guests and balloons stay as they are. Idempotent."""
        ...

    def guests(self) -> tuple[Guest, ...]:
        """Return the guests that run here now, each once."""
        ...

    def write_note(self, uuid: str, note: BalloonNote | None) -> None:
        """Keep a note with a guest while it runs; None takes it away."""
        ...

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        """Ask a guest to have so much memory. It is a wish: `Guest.actual_bytes` says how far it was granted."""
        ...


class NullHypervisor:
    """No guests."""

    present = False

    def start(self, on_change: Callable[[], None]) -> None:
        """See `Hypervisor.start`."""

    def stop(self) -> None:
        """See `Hypervisor.stop`."""

    def guests(self) -> tuple[Guest, ...]:
        """See `Hypervisor.guests`."""
        return ()

    def write_note(self, uuid: str, note: BalloonNote | None) -> None:
        """See `Hypervisor.write_note`."""
        raise HypervisorError(f"there is no guest {uuid}")

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        """See `Hypervisor.set_balloon`."""
        raise HypervisorError(f"there is no guest {uuid}")
