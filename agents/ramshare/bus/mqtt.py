"""The bus over a real broker: the bus's logic on a paho link, with a thread that minds the time.

`MqttBus(load(BrokerSettings), "lender.hosta")` is what agents and commands are given.
"""

import logging
import threading
import time
from datetime import UTC, datetime

from ramshare.bus.core import CoreBus
from ramshare.bus.link import RETURN_S, MqttLink
from ramshare.bus.tls import RENEW, Certificate, expiry_warning
from ramshare.settings import BrokerSettings
from ramshare.topics import Root

log = logging.getLogger(__name__)

LONGEST_NAP_S = 10.0
MISSED_HEARTBEATS = 3
"""`online` disappears from the broker when so many heartbeats in a row did not come."""


class MqttBus(CoreBus):
    """A client on a broker; implements `api.Bus`."""

    def __init__(self, settings: BrokerSettings, client: str, return_s: float = RETURN_S) -> None:
        """`return_s`: how often a client that is at a later broker of several looks for an earlier one."""
        self._settings = settings.model_copy(update={"client": client})
        self._mqtt = MqttLink(settings, client, return_s)
        super().__init__(
            client,
            self._mqtt,
            root=Root.of(settings.root),
            status_expiry_s=int(MISSED_HEARTBEATS * settings.announce_interval_s),
        )
        self._closing = threading.Event()
        self._timer: threading.Thread | None = None

    def connect(self, timeout_s: float = 10.0) -> None:
        """Connect and wait. Raises `BrokerUnreachableError` or `NotAuthorisedError`."""
        super().connect(timeout_s)
        self._closing.clear()
        self._timer = threading.Thread(target=self._mind_time, name=f"bus-timer-{self.client}", daemon=True)
        self._timer.start()

    def close(self) -> None:
        """Publish `offline`, disconnect and stop; open requests fail. Idempotent."""
        timer, self._timer = self._timer, None
        if timer is None:
            return
        self._closing.set()
        self._pending.wake()
        super().close()
        timer.join(1.0)

    def on_up(self) -> None:
        """See `CoreBus.on_up`; the certificate may be a new one."""
        if not self._settings.broker_insecure:
            own = Certificate.read(self._settings.cert_file)
            self._publisher.certificate_ends = own.ends
            if warning := expiry_warning(own, datetime.now(UTC)):
                log.warning("%s: %s", warning, RENEW)
        super().on_up()

    def _mind_time(self) -> None:
        """Fail overdue requests and see that the network thread lives."""
        while not self._closing.is_set():
            self._pending.wait(time.monotonic(), LONGEST_NAP_S)
            self.expire()
            try:
                self._mqtt.ensure_alive()
            except RuntimeError:  # no thread can be started now; the next turn tries again
                log.exception("%s: cannot start the network thread", self.client)
