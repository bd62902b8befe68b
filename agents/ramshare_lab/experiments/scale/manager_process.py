"""The real manager in a process of its own, and what it says of itself."""

import sys
import time
from pathlib import Path

from ramshare.bus.api import StateArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import RamshareError
from ramshare.linux.run import Runner
from ramshare.messages.state import ManagerState
from ramshare.topics import MANAGER
from ramshare_lab.cluster.broker import RunningBroker


class ManagerError(RamshareError):
    """The manager ended or never served."""


class ManagerProcess:
    """Started by the constructor; ended by `end`."""

    def __init__(self, runner: Runner, directory: Path, broker: RunningBroker, person: MqttBus) -> None:
        """`person` is a client that may read what the manager publishes, and is connected."""
        self._person, self._log = person, directory / "manager.log"
        person.watch_state(MANAGER, "summary")
        self.started_s = time.monotonic()
        self._process = runner.spawn(
            [sys.executable, "-m", "ramshare.launch", MANAGER],
            log_path=self._log,
            env={
                "RAMSHARE_ENV_FILE": "/dev/null",
                "RAMSHARE_BROKER_HOST": broker.host,
                "RAMSHARE_BROKER_PORT": str(broker.port),
                "RAMSHARE_TLS_DIRECTORY": str(broker.tls_directory(MANAGER)),
                "RAMSHARE_CLIENT": MANAGER,
            },
            die_with_parent=True,
        )
        self.pid = self._process.pid

    def serving(self, lenders: int, within_s: float, last: ManagerState | None = None) -> ManagerState:
        """Return its first word that it serves and knows so many lenders, or its last when the time is over.

        `last` is what it said before. Raises `ManagerError` if it does not serve at all.
        """
        until_s = time.monotonic() + within_s
        while (left_s := until_s - time.monotonic()) > 0 and (last is None or last.lenders < lenders):
            if self._process.poll() is not None:
                said = self._log.read_text().splitlines()[-1:]
                raise ManagerError(f"the manager ended: {''.join(said)}", f"read {self._log}")
            arrived = self._person.next(min(1.0, left_s))
            if isinstance(arrived, StateArrived) and isinstance(arrived.message, ManagerState):
                last = arrived.message if arrived.message.ready else last
        if last is None:
            raise ManagerError(f"the manager does not serve within {within_s:g} s", f"read {self._log}")
        return last

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
