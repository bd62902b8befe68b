"""Calls as soon as memory gets short, instead of at the next look. Used by the monitor and the lender.

Two signs. PSI: tasks wait for memory; where the kernel has none, or does not let this process ask for it, that one is
missing. And MemAvailable falling fast: when tasks wait, the kernel swaps already, and memory that another machine has
in use takes a second or more to come back.
"""

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ramshare.linux.memory import PROC, PressureTrigger

log = logging.getLogger(__name__)

LOOK_MS = 250
"""Between two looks at MemAvailable. With what it takes to wake up they cost 0.1 % of a core (measured)."""
FALL_SHARE = 1 / 8
FALL_BYTES = 16 << 20
"""A fall by the larger of both since the last call, or since the last rise, is told."""


HEAD_BYTES = 256
"""MemAvailable is the third line of `/proc/meminfo`."""


class Falls:
    """Tells falls of the available memory from its noise. Pure."""

    def __init__(self) -> None:
        self._before_bytes = 0

    def fell(self, available_bytes: int) -> bool:
        """Take one look; return whether so much is gone that it should be told."""
        before = self._before_bytes
        fell = before - available_bytes >= max(FALL_BYTES, before * FALL_SHARE)
        if fell or available_bytes > before:
            self._before_bytes = available_bytes
        return fell


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
        """Call `on_rise`, on another thread, each time memory gets shorter. Return whether that can be told."""
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


class Available:
    """Reads MemAvailable and nothing else, from a file that stays open: four times a second, every bit counts."""

    def __init__(self, proc: Path = PROC) -> None:
        self._path = proc / "meminfo"
        self._fd = -1

    def __call__(self) -> int:
        """Return it in bytes. Raises `OSError` or `ValueError` where the kernel does not say."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        text = os.pread(self._fd, HEAD_BYTES, 0)
        begin = text.index(b"MemAvailable:") + len("MemAvailable:")
        return int(text[begin : text.index(b"kB", begin)]) * 1024


class PressureWatch:
    """A thread that waits for a trigger and looks at MemAvailable. The trigger fires at most once in 1 to 2 s."""

    def __init__(
        self,
        trigger: Callable[[], Trigger] = PressureTrigger,
        available_bytes: Callable[[], int] | None = None,
        look_ms: int = LOOK_MS,
    ) -> None:
        self._make = trigger
        self._available_bytes = available_bytes or Available()
        self._look_ms = look_ms
        self._thread: threading.Thread | None = None
        self._wake_fd = -1

    def start(self, on_rise: Callable[[], None]) -> bool:
        """See `Watch.start`."""
        trigger: Trigger | None = None
        try:
            trigger = self._make()
        except (OSError, ValueError) as error:
            log.debug("no early warning by the kernel of memory pressure: %s", error)
        wait_fd, self._wake_fd = os.pipe()
        self._thread = threading.Thread(
            target=self._run, args=(trigger, wait_fd, on_rise), name="memory-pressure", daemon=True
        )
        self._thread.start()
        return True

    def stop(self) -> None:
        """See `Watch.stop`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            os.close(self._wake_fd)
            thread.join(1.0)

    def _run(self, trigger: Trigger | None, wait_fd: int, on_rise: Callable[[], None]) -> None:
        falls, poll = Falls(), select.poll()
        poll.register(wait_fd, select.POLLHUP)
        if trigger is not None:
            poll.register(trigger.fileno(), select.POLLPRI)
        try:
            while True:
                happened = dict(poll.poll(self._look_ms))
                if wait_fd in happened:
                    return
                flags = happened.get(trigger.fileno(), 0) if trigger is not None else 0
                if flags & (select.POLLERR | select.POLLNVAL) and trigger is not None:
                    log.debug("the kernel ended its early warning of memory pressure")
                    poll.unregister(trigger.fileno())
                fell = False
                with contextlib.suppress(OSError, ValueError):
                    fell = falls.fell(self._available_bytes())
                if fell or flags & select.POLLPRI:
                    on_rise()
        finally:
            if trigger is not None:
                trigger.close()
            os.close(wait_fd)
