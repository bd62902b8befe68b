"""Calls as soon as memory gets short (PSI), instead of at the next look. Used by the monitor and the lender.

Where the kernel has no PSI, or does not let this process ask for it, nobody is called: the regular samples remain.
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Protocol

from ramshare.linux.memory import PressureTrigger

log = logging.getLogger(__name__)


class Trigger(Protocol):
    """What polls `POLLPRI` when memory gets short; `linux.memory.PressureTrigger`."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        ...

    def close(self) -> None:
        """Remove the trigger."""
        ...


class Watch(Protocol):
    """What agents know of an early warning."""

    def start(self, on_rise: Callable[[], None]) -> bool:
        """Call `on_rise`, on another thread, each time pressure rises. Return whether that can be told."""
        ...

    def stop(self) -> None:
        """End. Idempotent."""
        ...


class NoWatch:
    """Never calls."""

    def start(self, on_rise: Callable[[], None]) -> bool:
        """See `Watch.start`."""
        return False

    def stop(self) -> None:
        """See `Watch.stop`."""


class PressureWatch:
    """A thread that waits for a trigger. The kernel fires at most once per window (1 to 2 s) while pressure lasts."""

    def __init__(self, trigger: Callable[[], Trigger] = PressureTrigger) -> None:
        self._make = trigger
        self._thread: threading.Thread | None = None
        self._wake_fd = -1

    def start(self, on_rise: Callable[[], None]) -> bool:
        """See `Watch.start`."""
        try:
            trigger = self._make()
        except (OSError, ValueError) as error:
            log.debug("no early warning of memory pressure: %s", error)
            return False
        wait_fd, self._wake_fd = os.pipe()
        self._thread = threading.Thread(
            target=_watch, args=(trigger, wait_fd, on_rise), name="memory-pressure", daemon=True
        )
        self._thread.start()
        return True

    def stop(self) -> None:
        """See `Watch.stop`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            os.close(self._wake_fd)
            thread.join(1.0)


def _watch(trigger: Trigger, wait_fd: int, on_rise: Callable[[], None]) -> None:
    poll = select.poll()
    poll.register(trigger.fileno(), select.POLLPRI)
    poll.register(wait_fd, select.POLLHUP)
    try:
        while True:
            happened = dict(poll.poll())
            if wait_fd in happened:
                return
            flags = happened.get(trigger.fileno(), 0)
            if flags & select.POLLPRI:
                on_rise()
            if flags & (select.POLLERR | select.POLLNVAL):
                log.debug("the kernel ended the early warning of memory pressure")
                return
    finally:
        trigger.close()
        os.close(wait_fd)
