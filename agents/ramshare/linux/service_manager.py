"""What an agent tells the service manager that started it: that it serves, that its loop turns, what it is doing.

The protocol is systemd's, see sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names. Where there is none,
nothing is said. Telling never waits and never fails: a service manager that does not listen is no reason to stop.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from math import inf


class ServiceManager:
    """Somebody who may want to know; without a `socket_path`, nobody."""

    def __init__(self, socket_path: str = "", watchdog_s: float = inf) -> None:
        """`watchdog_s`: after so long without a word the service counts as hung."""
        self._path = f"\0{socket_path[1:]}" if socket_path.startswith("@") else socket_path
        self.alive_every_s = watchdog_s / 3
        """How often the loop says that it turns: two words may be late or lost."""
        self._said_ready = False
        self._alive_at_s = -inf

    def ready(self) -> None:
        """The service does its work now; said once."""
        if not self._said_ready:
            self._said_ready = True
            self._tell("READY=1")

    def alive(self, now_s: float) -> None:
        """The loop turns, on a clock that never goes back; passed on as often as needed."""
        if now_s - self._alive_at_s >= self.alive_every_s:
            self._alive_at_s = now_s
            self._tell("WATCHDOG=1")

    def status(self, sentence: str) -> None:
        """Say one line for `systemctl status`."""
        self._tell("STATUS=" + " ".join(sentence.split()))

    def stopping(self) -> None:
        """The service ends in order."""
        self._tell("STOPPING=1")

    def _tell(self, words: str) -> None:
        if not self._path:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_manager:
            to_manager.setblocking(False)
            to_manager.sendto(words.encode(errors="replace"), self._path)


def take_from(environment: MutableMapping[str, str], pid: int | None = None) -> ServiceManager:
    """Return who started this process; what says so is taken out, so that no child speaks in its place."""
    path = environment.pop("NOTIFY_SOCKET", "")
    every_us = environment.pop("WATCHDOG_USEC", "")
    whose = environment.pop("WATCHDOG_PID", "")
    ours = whose in ("", str(os.getpid() if pid is None else pid))
    return ServiceManager(path, int(every_us) / 1e6 if ours and every_us.isdigit() and int(every_us) > 0 else inf)
