"""What agents and commands see of the bus: publish, subscribe, ask and answer, and one queue of what arrived.

Agents depend on this page only; `bus/mqtt.py` speaks MQTT 5 over paho.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol

from typing_extensions import TypeVar

from ramshare.errors import ExitCode, RamshareError
from ramshare.messages.base import Message
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Request

R_co = TypeVar("R_co", bound=Request, covariant=True, default=Request)


class BrokerUnreachableError(RamshareError):
    """Nobody answers at the broker's address."""

    exit_code = ExitCode.NO_BROKER


class NotAuthorisedError(RamshareError):
    """The broker refused the credentials, or the topic."""

    exit_code = ExitCode.NOT_AUTHORISED


class RequestTimeoutError(RamshareError):
    """No reply within the time given."""


@dataclass(frozen=True)
class StateArrived:
    """A retained topic of `client` has a new value; `message` is None when it was cleared."""

    client: str
    path: str
    """What follows `state/<client>/`, for example `volume/vg0/swap`."""
    message: Message | None
    retained: bool
    """True when the broker replayed a stored value, False when it was just published."""
    expires_s: float | None = None
    """How long the broker would keep it from now on, by the broker's own clock; None: as long as it likes."""


@dataclass(frozen=True)
class EventArrived:
    """An event was published by `client`."""

    client: str
    kind: str
    message: Message


@dataclass(frozen=True)
class RequestArrived(Generic[R_co]):
    """`client` asks this agent for `verb`; answer with `Bus.answer`. Without a parameter: any request."""

    client: str
    verb: str
    request: R_co
    correlation: bytes
    """Empty: this agent asked itself, and nobody else hears the answer."""
    to_own_host: bool = False
    """A guest asked its host, whichever that is."""


@dataclass(frozen=True)
class Connected:
    """The session with the broker is up (again); published state has been sent again."""


@dataclass(frozen=True)
class Disconnected:
    """The session with the broker is gone; the bus reconnects by itself."""

    reason: str


Arrival = StateArrived | EventArrived | RequestArrived | Connected | Disconnected


class Bus(Protocol):
    """One client on the bus. All methods may be called from any thread; none blocks on the network but `connect`."""

    client: str

    def connect(self, timeout_s: float = 10.0) -> None:
        """Connect and wait. Raises `BrokerUnreachableError` or `NotAuthorisedError`."""
        ...

    def close(self) -> None:
        """Publish `offline`, disconnect and stop."""
        ...

    def set_state(self, path: str, message: Message | None) -> None:
        """Publish `state/<self>/<path>`, retained, now and on every reconnect; None clears it.

        `status` goes out when the broker has taken every subscription made before: `online` means that requests are
        heard. Nothing says it before the client has done so itself.
        """
        ...

    def republish(self) -> None:
        """Publish every state again, for a manager that has just started."""
        ...

    def event(self, kind: str, message: Message) -> None:
        """Publish `event/<self>/<kind>`, not retained."""
        ...

    def watch_state(self, client: str = "+", path: str = "#") -> None:
        """Have the state topics of `client` (`+`: everyone) delivered as `StateArrived`.

        Clients are heard in turn, each in its own order. A topic of one's own that one clears comes back when all that
        the broker sent before it has been delivered: a mark.
        """
        ...

    def watch_requests(self, guest: str) -> None:
        """Have what the client `guest` asks its own host for delivered as `RequestArrived`."""
        ...

    def unwatch_requests(self, guest: str) -> None:
        """Undo `watch_requests`."""
        ...

    def watch_events(self, client: str = "+", kind: str = "#") -> None:
        """Have the events of `client` delivered as `EventArrived`."""
        ...

    def unwatch_state(self, client: str, path: str = "#") -> None:
        """Undo `watch_state` with the same arguments."""
        ...

    def ask(self, server: str, request: Request, timeout_s: float) -> "Future[Reply]":
        """Send `request` to `server`. The future fails with `RequestTimeoutError` if no reply comes in time."""
        ...

    def answer(self, arrived: RequestArrived, reply: Reply) -> None:
        """Reply to a request; the topic is derived from the request's own topic, never from what it carried."""
        ...

    def next(self, timeout_s: float) -> Arrival | None:
        """Return what arrived next, or None after `timeout_s`."""
        ...

    def on_online(self, call: Callable[[], None]) -> None:
        """Call (from any thread) whenever `online` was sent: every subscription is taken."""
        ...

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever something was queued for `next`."""
        ...
