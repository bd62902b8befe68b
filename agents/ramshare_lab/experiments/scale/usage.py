"""What manager and broker take of this machine over a time: CPU, memory, and how long they waited for a core."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Used:
    """Over `seconds`, as shares of one core."""

    seconds: float
    manager_cpu: float
    manager_waited: float
    """Share of the time that its threads could have run and had no core: time of other processes, in its answers."""
    broker_cpu: float


@dataclass
class Usage:
    """Counts from its making on."""

    manager: int
    broker: int
    _since: tuple[float, float, float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._since = self._now()

    def until_now(self) -> Used:
        """Return what was taken since."""
        passed_s, manager_s, waited_s, broker_s = (
            now - then for now, then in zip(self._now(), self._since, strict=True)
        )
        return Used(passed_s, manager_s / passed_s, waited_s / passed_s, broker_s / passed_s)

    def _now(self) -> tuple[float, float, float, float]:
        return time.monotonic(), _cpu_s(self.manager), _waited_s(self.manager), _cpu_s(self.broker)


def resident_bytes(pid: int) -> int:
    """Return what a process holds in memory."""
    return int(psutil.Process(pid).memory_info().rss)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _waited_s(pid: int) -> float:
    """Return how long a process's threads have waited for a core: schedstat's second figure."""
    return sum(int(one.read_text().split()[1]) for one in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
