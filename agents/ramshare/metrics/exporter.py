"""Serves an agent's metrics over HTTP, to Prometheus. Needs `ramshare[metrics]`.

Read-only and without authentication, so loopback is what README proposes. A port that is taken is logged and stops no
agent: loans go before graphs.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ramshare.bus.api import Bus
from ramshare.bus.tls import Certificate
from ramshare.errors import MissingPartError, RamshareError
from ramshare.settings import BrokerSettings, SettingsError

try:
    from prometheus_client import start_http_server
    from prometheus_client.core import GaugeMetricFamily, Metric

    from ramshare.metrics.bus import WatchedBus, WatchedMqttBus
    from ramshare.metrics.meters import Meters
except ImportError as error:
    raise MissingPartError(
        "metrics need the Python package prometheus_client",
        "pip install 'ramshare[metrics]', or leave RAMSHARE_METRICS_LISTEN empty",
    ) from error

if TYPE_CHECKING:
    from ramshare.agent import Agent

log = logging.getLogger(__name__)

PORTS = {"manager": 0, "lender": 1, "borrower": 2, "monitor": 3}
"""Added to the port of the setting: agents on one host read one settings file."""
LAG_AGAIN_S = 1.0
"""A scrape waits for no loop: it reports the last probe, and sends the next one if that is so old."""


class Exporter:
    """Watches one agent; implements `off.Watcher`."""

    def __init__(self, role: str, listen: str) -> None:
        """`listen` is `ADDRESS:PORT` as validated by the settings. Raises `SettingsError` if there is no such port."""
        address, _, port = listen.rpartition(":")
        self.address, self.port = address.strip("[]"), int(port) + PORTS[role]
        if self.port > 65535:
            raise SettingsError(f"RAMSHARE_METRICS_LISTEN: a {role} would take port {self.port}", "use one below 65530")
        self._role = role
        self.meters = Meters(role)

    def bus(self, settings: BrokerSettings, client: str) -> Bus:
        """See `Watcher`."""
        bus = WatchedMqttBus(settings, client)
        self.attend(bus)
        if not settings.broker_insecure:
            self.meters.registry.register(CertificateExpiry(partial(Certificate.read, settings.cert_file)))
        return bus

    def attend(self, bus: WatchedBus) -> None:
        """Count what goes over this bus."""
        bus.watched_by(self._role, self.meters)

    def step(self, name: str, outcome: str, took_s: float) -> None:
        """See `Watcher`."""
        if self.meters.steps is not None:
            self.meters.steps.labels(name, outcome).observe(took_s)

    def watch(self, agent: "Agent") -> None:
        """See `Watcher`."""
        self.meters.registry.register(LoopLag(agent))

    def __enter__(self) -> Self:
        try:
            self._server, self._thread = start_http_server(self.port, self.address, self.meters.registry)
        except OSError as error:
            log.error("no metrics: cannot listen on %s port %d: %s", self.address, self.port, error.strerror or error)
        else:
            log.info("metrics at http://%s:%d/metrics", self.address, self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = getattr(self, "_server", None)
        if server is not None:
            server.shutdown()
            server.server_close()
            self._thread.join(1.0)


class CertificateExpiry:
    """When the agent's certificate ends, read anew at each scrape: it may have been renewed."""

    def __init__(self, read: Callable[[], Certificate]) -> None:
        """`read` returns the certificate or raises `RamshareError`; then there is nothing to show."""
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the end as seconds since 1970."""
        name, text = "ramshare_certificate_expiry_timestamp_seconds", "When this agent's certificate ends."
        with contextlib.suppress(RamshareError):
            yield GaugeMetricFamily(name, text, value=self._read().ends.timestamp())


class LoopLag:
    """How long something that was posted to the agent's loop had to wait; probed by scrapes only."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._posted_s: float | None = None
        self._lag_s = 0.0
        self._probed_s = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """Yield the lag: of the last probe, or of the one that still waits if that is longer."""
        now_s = time.monotonic()
        posted_s = self._posted_s
        lag_s = self._lag_s if posted_s is None else max(self._lag_s, now_s - posted_s)
        yield GaugeMetricFamily("ramshare_loop_lag_seconds", "How long the agent's loop lets one wait.", value=lag_s)
        if posted_s is None and now_s - self._probed_s >= LAG_AGAIN_S:
            self._posted_s = self._probed_s = now_s
            self._agent.post(self._ran)

    def _ran(self) -> None:
        if self._posted_s is not None:
            self._lag_s, self._posted_s = time.monotonic() - self._posted_s, None
