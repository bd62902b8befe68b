"""What an administrator does to a running broker: clear what an account that is gone has left there, and watch it.

Used by `ramshare broker revoke` and `guard`, as accounts whose certificates are made for minutes.
"""

import time
from collections.abc import Callable

from ramshare.bus.api import BrokerUnreachableError
from ramshare.bus.session import Acknowledged, LostError, Session
from ramshare.bus.wire import Packet
from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings
from ramshare.topics import VERSION

TIMEOUT_S = 10.0


class RefusedError(RamshareError):
    """The broker does not let the administrator's account do it: it goes by older rules."""


def clear_state(settings: BrokerSettings, client: str) -> list[str]:
    """Clear every stored topic of `client`; return them."""
    own = f"{settings.root}/{VERSION}/state/{client}"
    mark = f"{own}/cleared"
    found: list[str] = []
    with _Connection(settings) as broker:
        broker.subscribe(f"{own}/#")
        broker.send(Packet(mark, b"", retain=True))

        def note(packet: Packet) -> bool:
            if packet.retain and packet.payload:
                found.append(packet.topic)
            return packet.topic == mark

        broker.until(note)
        for topic in found:
            broker.send(Packet(topic, b"", retain=True))
    return found


def until_stored(settings: BrokerSettings, note: Callable[[str, int], str]) -> str:
    """Tell `note` of every stored topic (name, bytes of its value) and of every change.

    Returns the first answer that is not empty. Raises `BrokerUnreachableError` when the connection ends.
    """
    with _Connection(settings) as broker:
        broker.subscribe(f"{settings.root}/{VERSION}/state/#")
        while True:
            for packet in broker.arrived():
                if found := note(packet.topic, len(packet.payload)):
                    return found


class _Connection:
    def __init__(self, settings: BrokerSettings) -> None:
        assert settings.client is not None
        self._where = settings.broker
        self._session = Session(settings, settings.client, None, clean_start=True)
        self._waiting: list[Packet] = []

    def __enter__(self) -> "_Connection":
        self._session.open(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.disconnect()
        self._session.release()

    def subscribe(self, topic_filter: str) -> None:
        self._acknowledged(self._session.subscribe(topic_filter, 1))

    def send(self, packet: Packet) -> None:
        self._acknowledged(self._session.publish(packet))

    def arrived(self) -> list[Packet]:
        """Return what has arrived, after a few seconds at most."""
        self._turn(time.monotonic() + TIMEOUT_S)
        taken, self._waiting = self._waiting, []
        return taken

    def until(self, wanted: Callable[[Packet], bool]) -> Packet:
        """Return the first packet that is wanted."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            while self._waiting:
                if wanted(packet := self._waiting.pop(0)):
                    return packet
            self._turn(deadline)

    def _acknowledged(self, number: int | None) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            for verdict in self._turn(deadline):
                if verdict.mid == number:
                    if verdict.refusal:
                        raise RefusedError(f"the broker at {self._where} refuses it: {verdict.refusal}", "restart it")
                    return

    def _turn(self, deadline: float) -> list[Acknowledged]:
        if time.monotonic() > deadline:
            raise BrokerUnreachableError(f"the broker at {self._where} does not answer", "restart it")
        try:
            happened = self._session.turn()
        except LostError as error:
            raise BrokerUnreachableError(f"the broker at {self._where} ended the connection: {error}") from error
        self._waiting += [one for one in happened if isinstance(one, Packet)]
        return [one for one in happened if isinstance(one, Acknowledged)]
