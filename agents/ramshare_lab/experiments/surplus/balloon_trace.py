"""Follows a guest's balloon at the hypervisor, many times a second, from the outside. Used by `scenario.py`."""

import threading
import time
from types import TracebackType
from typing import Self

from ramshare.errors import RamshareError
from ramshare.linux.hypervisor import Guest
from ramshare.linux.libvirt_guests import LibvirtGuests

LOOK_S = 0.05


class BalloonTraceError(RamshareError):
    """The guest is not there, or did not get the memory."""


class BalloonTrace:
    """A context manager; looks on a thread of its own, by a connection of its own."""

    def __init__(self, uri: str, name: str) -> None:
        self._hypervisor = LibvirtGuests(uri)
        self._name = name
        self._known: tuple[Guest, ...] = ()
        self._seen: list[tuple[float, int]] = []
        """Time, and what the guest has, each time that it changed."""
        self._at_s = 0.0
        """When the newest look began."""
        self._failure: RamshareError | None = None
        self._stopping = threading.Event()
        self._looked = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="balloon-trace", daemon=True)

    def __enter__(self) -> Self:
        self._hypervisor.start(lambda: None)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(5.0)
        self._hypervisor.stop()

    def all(self) -> tuple[Guest, ...]:
        """Return all guests as they are now: as they were seen after this call began. Raises `RamshareError`."""
        began_s = time.monotonic()
        with self._looked:
            while self._at_s < began_s:
                if not self._looked.wait(10.0):
                    raise self._failure or BalloonTraceError("the hypervisor does not answer")
        return self._known

    def now(self) -> Guest:
        """Return the guest as it is now. Raises `RamshareError`."""
        found = next((guest for guest in self.all() if guest.name == self._name), None)
        if found is None:
            raise BalloonTraceError(f"no guest {self._name} runs")
        return found

    def reached(self, size_bytes: int, since_s: float, timeout_s: float) -> float:
        """Return how many seconds after `since_s` the guest first had so much; waits for it. Raises `RamshareError`."""
        while True:
            has_bytes = self.now().actual_bytes
            first_s = next((at_s for at_s, size in self._seen if at_s >= since_s and size >= size_bytes), None)
            if first_s is not None:
                return first_s - since_s
            if time.monotonic() > since_s + timeout_s:
                raise BalloonTraceError(
                    f"{self._name} has {has_bytes >> 20} of {size_bytes >> 20} MiB after {timeout_s:g} s"
                )

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            began_s = time.monotonic()
            try:
                known = self._hypervisor.guests()
            except RamshareError as error:
                self._failure = error
                continue
            with self._looked:
                self._known, self._at_s = known, began_s
                for guest in known:
                    if guest.name == self._name:
                        self._seen.append((time.monotonic(), guest.actual_bytes))
                self._looked.notify_all()
