"""What a monitor costs the guest it lives in: a real one, on a real broker, over minutes.

Natively: under emulation the CPU share says nothing. Its start is not counted, a guest starts it once.
"""

import sys
import time
from pathlib import Path

import psutil

from ramshare.bus.api import StateArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import RamshareError
from ramshare.linux.run import Runner
from ramshare_lab.cluster.broker import RunningBroker, start_broker
from ramshare_lab.experiments.surplus.results import SurplusResults

TARGET_RSS_BYTES = 30_000_000
TARGET_CPU_SHARE = 0.003
SETTLE_REPORTS = 3
"""Reports before the measurement: by then the monitor has let go of what it needed to start."""
_GUEST, _LISTENER = "guest.bench", "cli.bench"


class MonitorSilentError(RamshareError):
    """The monitor that is measured does not report: its figures would mean nothing."""


def measure(
    runner: Runner, directory: Path, seconds: float, interval_s: float, patience_s: float = 10.0
) -> SurplusResults:
    """Start a broker and a monitor in `directory` and measure. Raises `BrokerStartError`, `MonitorSilentError`."""
    with start_broker(runner, directory / "broker", (_GUEST, _LISTENER)) as broker:
        listener = MqttBus(broker.settings(_LISTENER), _LISTENER)
        process = runner.spawn(
            [sys.executable, "-m", "ramshare.launch", "monitor"],
            log_path=directory / "monitor.log",
            env=_environment(broker, interval_s),
            die_with_parent=True,
        )
        try:
            listener.connect()
            listener.watch_state(_GUEST, "memory")
            _count(listener, SETTLE_REPORTS, patience_s + SETTLE_REPORTS * interval_s, directory / "monitor.log")
            return _observe(psutil.Process(process.pid), listener, seconds, interval_s, directory)
        finally:
            process.kill()
            process.wait()
            listener.close()


def _observe(
    process: psutil.Process, listener: MqttBus, seconds: float, interval_s: float, directory: Path
) -> SurplusResults:
    before, began = process.cpu_times(), time.monotonic()
    reports = _count(listener, None, seconds, directory / "monitor.log")
    after, passed_s = process.cpu_times(), time.monotonic() - began
    return SurplusResults(
        monitor_rss_bytes=process.memory_info().rss,
        monitor_cpu_share=(after.user + after.system - before.user - before.system) / passed_s,
        monitor_interval_s=interval_s,
        monitor_seconds=passed_s,
        monitor_reports=reports,
    )


def _count(listener: MqttBus, wanted: int | None, within_s: float, log_path: Path) -> int:
    """Return how many reports came, as soon as `wanted` did or the time is over."""
    deadline, seen = time.monotonic() + within_s, 0
    while (left_s := deadline - time.monotonic()) > 0 and seen != wanted:
        seen += isinstance(listener.next(min(1.0, left_s)), StateArrived)
    if seen < (wanted or 1):
        said = log_path.read_text().splitlines() if log_path.exists() else []
        raise MonitorSilentError(
            f"the monitor sent {seen} reports in {within_s:.0f} s", (said or ["it said nothing"])[-1]
        )
    return seen


def _environment(broker: RunningBroker, interval_s: float) -> dict[str, str]:
    return {
        "RAMSHARE_ENV_FILE": "/dev/null",
        "RAMSHARE_BROKER_HOST": broker.host,
        "RAMSHARE_BROKER_PORT": str(broker.settings(_GUEST).port),
        "RAMSHARE_CLIENT": _GUEST,
        "RAMSHARE_HOST": "bench",
        "RAMSHARE_TLS_DIRECTORY": str(broker.tls_directory(_GUEST)),
        "RAMSHARE_SAMPLE_INTERVAL_S": f"{interval_s:g}",
    }
