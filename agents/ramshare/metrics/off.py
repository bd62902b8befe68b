"""What a watched agent is run with, and the watcher that does nothing: metrics are off unless asked for."""

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from ramshare.bus.api import Bus
from ramshare.bus.mqtt import MqttBus
from ramshare.settings import BrokerSettings

if TYPE_CHECKING:
    from ramshare.agent import Agent


class Watcher(Protocol):
    """Gives an agent its bus and hears how its work goes; a context around the agent's life."""

    def bus(self, settings: BrokerSettings, client: str) -> Bus:
        """Return the agent's bus."""
        ...

    def step(self, name: str, outcome: str, took_s: float) -> None:
        """Note a step that the agent's worker has applied. From any thread."""
        ...

    def watch(self, agent: "Agent") -> None:
        """The agent has been made and is about to run."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Unwatched:
    """Watches nothing."""

    def bus(self, settings: BrokerSettings, client: str) -> Bus:
        """See `Watcher`."""
        return MqttBus(settings, client)

    def step(self, name: str, outcome: str, took_s: float) -> None:
        """See `Watcher`."""

    def watch(self, agent: "Agent") -> None:
        """See `Watcher`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Watcher`."""


def watcher_for(role: str, listen: str | None) -> Watcher:
    """Return the watcher of an agent. Raises `MissingPartError` if metrics are asked for and cannot be had."""
    if listen is None:
        return Unwatched()
    from ramshare.metrics.exporter import Exporter

    return Exporter(role, listen)
