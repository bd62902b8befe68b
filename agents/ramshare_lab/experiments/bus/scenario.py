"""Round trip of a request over a real broker on loopback: the bus, a bare paho echo, and both without TCP_NODELAY.

All of it in one run on one machine, so that the figures can be compared with each other. The target for the bus is
5 ms at QoS 1; with Nagle's algorithm on either side it would be about 88 ms (measured, Mosquitto 2.0.11).
"""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ramshare.bus.api import RequestArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Drain
from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.broker import BrokerRunner, start_broker
from ramshare_lab.experiments.bus.echo import bare_round_trips

ROUNDS = 1000
SLOW_ROUNDS = 30
"""At some 88 ms each; more would tell nothing new."""
WARM_UP = 20
TARGET_MS = 5.0
_ASKER, _SERVER = "cli.bench", "lender.bench"


@dataclass(frozen=True)
class RoundTrip:
    """One way to ask and what it took, in milliseconds."""

    case: str
    rounds: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, case: str, seconds: Sequence[float]) -> "RoundTrip":
        """Summarise measured round trips."""
        ordered = sorted(seconds)
        return cls(
            case, len(ordered), _percentile_ms(ordered, 50), _percentile_ms(ordered, 99), round(ordered[-1] * 1e3, 3)
        )


def measure(runner: BrokerRunner, directory: Path, rounds: int = ROUNDS) -> list[RoundTrip]:
    """Start brokers in `directory` and measure every case. Raises `BrokerStartError`, `RequestTimeoutError`."""
    payload = Drain().to_json()
    results = []
    with start_broker(runner, directory / "tuned", (_ASKER, _SERVER)) as broker:
        asker, server = broker.settings(_ASKER), broker.settings(_SERVER)
        results.append(RoundTrip.of("ramshare bus", _bus_round_trips(asker, server, rounds)))
        bare = bare_round_trips(asker, server, payload, rounds, nodelay=True)
        results.append(RoundTrip.of("bare paho", bare))
        bare = bare_round_trips(asker, server, payload, min(rounds, SLOW_ROUNDS), nodelay=False)
        results.append(RoundTrip.of("bare paho, no TCP_NODELAY at the clients", bare))
    untuned = ("set_tcp_nodelay false",)
    with start_broker(runner, directory / "untuned", (_ASKER, _SERVER), overrides=untuned) as broker:
        asker, server = broker.settings(_ASKER), broker.settings(_SERVER)
        few = min(rounds, SLOW_ROUNDS)
        results.append(RoundTrip.of("ramshare bus, no TCP_NODELAY at the broker", _bus_round_trips(asker, server, few)))
        bare = bare_round_trips(asker, server, payload, few, nodelay=False)
        results.append(RoundTrip.of("bare paho, no TCP_NODELAY anywhere", bare))
    return results


def as_json(results: Sequence[RoundTrip]) -> dict[str, Any]:
    """Return what scripts read."""
    return {"target_ms": TARGET_MS, "met": results[0].p50_ms < TARGET_MS, "cases": [asdict(row) for row in results]}


def _bus_round_trips(asking: BrokerSettings, answering: BrokerSettings, rounds: int) -> list[float]:
    asker, server = MqttBus(asking, _ASKER), MqttBus(answering, _SERVER)
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            arrived = server.next(0.1)
            if isinstance(arrived, RequestArrived):
                server.answer(arrived, Reply(request_id=arrived.request.request_id))

    serving = threading.Thread(target=serve, name="bench-server", daemon=True)
    try:
        server.connect()
        asker.connect()
        serving.start()
        seconds = []
        for _ in range(WARM_UP + rounds):
            began = time.perf_counter()
            asker.ask(_SERVER, Drain(), 10).result(11)
            seconds.append(time.perf_counter() - began)
        return seconds[WARM_UP:]
    finally:
        stopping.set()
        if serving.is_alive():
            serving.join()
        asker.close()
        server.close()


def _percentile_ms(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank: the value that `percent` of all do not exceed."""
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1] * 1e3, 3)
