"""A bus that is watched: what an agent says, asks and answers is what its metrics are made of."""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ramshare.bus.api import RequestArrived
from ramshare.bus.core import CoreBus
from ramshare.bus.counters import Drop
from ramshare.bus.mqtt import MqttBus
from ramshare.messages.base import Message
from ramshare.messages.events import Event
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Request, Vacate
from ramshare.metrics.meters import Meters
from ramshare.metrics.states import gauges
from ramshare.topics import EVERYBODY

FORGET_RECLAIM = 10_000
"""Leases that were asked back and are remembered; more than a lender has."""


class WatchedBus(CoreBus):
    """Mixed into a bus: the same bus, and a collector of metrics. `watched_by` must be called before anything else."""

    def watched_by(self, role: str, meters: Meters) -> None:
        """Begin to count."""
        self._role = role
        self._meters = meters
        self._said: dict[str, Message] = {}
        self._asked_back_s: dict[str, float] = {}
        self._counting = threading.Lock()
        meters.registry.register(self)

    # --- what agents call: see api.Bus

    def set_state(self, path: str, message: Message | None) -> None:
        """See `api.Bus`."""
        super().set_state(path, message)
        with self._counting:
            if message is not None:
                self._said[path] = message
                return
            self._said.pop(path, None)
            asked_s = self._asked_back_s.pop(path.removeprefix("export/"), None)
        if asked_s is not None and self._meters.reclaims is not None:
            self._meters.reclaims.observe(time.monotonic() - asked_s)

    def event(self, kind: str, message: Message) -> None:
        """See `api.Bus`."""
        super().event(kind, message)
        self._meters.events.labels(kind).inc()
        if isinstance(message, Event) and message.outcome is not None:
            self._meters.ended.labels(message.outcome).inc()
            self._meters.ended_bytes.labels(message.outcome).inc(message.size_bytes or 0)

    def ask(self, server: str, request: Request, timeout_s: float) -> "Future[Reply]":
        """See `api.Bus`."""
        if isinstance(request, Vacate):
            self._note_reclaim(request)
        asked = super().ask(server, request, timeout_s)
        if server != EVERYBODY:
            asked.add_done_callback(partial(self._answered, request.VERB, time.monotonic()))
        return asked

    def answer(self, arrived: RequestArrived, reply: Reply) -> None:
        """See `api.Bus`."""
        super().answer(arrived, reply)
        self._meters.requests.labels(arrived.verb, _outcome(reply)).inc()

    # --- what the link calls

    def on_up(self) -> None:
        """See `CoreBus`."""
        super().on_up()
        self._meters.connected.set(1)
        self._meters.connections.inc()

    def on_down(self, reason: str) -> None:
        """See `CoreBus`."""
        self._meters.connected.set(0)
        super().on_down(reason)

    # --- what a scrape calls, on a thread of its own

    def collect(self) -> Iterator[Metric]:
        """Yield what is true at this moment."""
        with self._counting:
            said = dict(self._said)
        yield from gauges(self._role, said)
        yield _drops(self.counters.snapshot())
        waiting = GaugeMetricFamily("ramshare_bus_waiting", "Messages that wait, by direction.", labels=["direction"])
        waiting.add_metric(["in"], len(self._reception))
        waiting.add_metric(["out"], self.waiting_out())
        yield waiting

    def waiting_out(self) -> int:
        """Return how many publications the broker has not acknowledged."""
        return 0

    def _note_reclaim(self, request: Vacate) -> None:
        with self._counting:
            for lease in request.leases[: max(0, FORGET_RECLAIM - len(self._asked_back_s))]:
                self._asked_back_s.setdefault(lease, time.monotonic())

    def _answered(self, verb: str, since_s: float, asked: "Future[Reply]") -> None:
        if not asked.cancelled():
            outcome = "no-answer" if asked.exception() is not None else _outcome(asked.result())
            self._meters.asked.labels(verb, outcome).observe(time.monotonic() - since_s)


class WatchedMqttBus(WatchedBus, MqttBus):
    """A watched client on a broker."""

    def waiting_out(self) -> int:
        """See `WatchedBus`."""
        with self.lock:
            return len(self._mqtt.outbox)


def _outcome(reply: Reply) -> str:
    return "ok" if reply.error is None else reply.error.value


def _drops(found: Mapping[str, int]) -> Metric:
    family: Any = CounterMetricFamily("ramshare_bus_dropped", "Messages dropped, by reason.", labels=["reason"])
    for drop in Drop:
        family.add_metric([drop.name.lower()], found.get(drop.name.lower(), 0))
    return family  # type: ignore[no-any-return]
