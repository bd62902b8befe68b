"""One paho connection, from its TCP handshake to its end. `link.py` makes a new one for every attempt.

paho's callbacks only append to `_happened`; `turn` runs paho's loop once and returns what they noted. paho must not
write from the publishing threads while this thread runs its loop, hence `on_socket_register_write`: with it set, paho
only wakes the loop.
"""

import contextlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, MQTTMessage, MQTTv5, error_string
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ramshare.bus.api import BrokerUnreachableError, NotAuthorisedError
from ramshare.bus.outbox import MAX_INFLIGHT
from ramshare.bus.tls import explain, explain_silence, open_context
from ramshare.bus.wire import Packet
from ramshare.settings import BrokerSettings

SESSION_EXPIRY_S = 60
"""The broker keeps subscriptions and queued requests for a client that is away for so long."""
WILL_DELAY_S = 5
"""A client that is back within this time is never shown as offline."""
MAX_PACKET_BYTES = 70_000
"""As `max_packet_size` at the broker: the largest payload (MAX_PAYLOAD_BYTES) and its topic and properties."""
TURN_S = 2.0
"""Longest sleep in paho's loop; a publication or a packet ends it."""

_BAD_CREDENTIALS = {134, 135, 138}
"""MQTT 5 reason codes: bad user name or password, not authorised, banned."""
_TAKEN_OVER = 142


class LostError(Exception):
    """The connection ended."""


class TakenOverError(LostError):
    """Another client connected with our name."""


@dataclass(frozen=True)
class Acknowledged:
    """The broker's verdict on publication or subscription `mid`; `refusal` is empty when it took it."""

    mid: int
    refusal: str


@dataclass(frozen=True)
class _Opened:
    code: int
    reason: str


@dataclass(frozen=True)
class _Closed:
    code: int
    reason: str


_CALLBACKS = (
    "on_connect",
    "on_disconnect",
    "on_message",
    "on_publish",
    "on_subscribe",
    "on_socket_open",
    "on_socket_register_write",
)
Happening = Packet | Acknowledged


class Session:
    """A connection. `publish`, `subscribe` and `unsubscribe` may be called from any thread, the rest from one."""

    def __init__(self, settings: BrokerSettings, client: str, will: Packet | None, *, clean_start: bool) -> None:
        self._where = settings.broker
        self._settings = settings.model_copy(update={"client": client})
        self._clean_start = clean_start
        self._happened: deque[Happening | _Opened | _Closed] = deque()
        self._paho = Client(CallbackAPIVersion.VERSION2, client_id=client, protocol=MQTTv5, reconnect_on_failure=False)
        if settings.broker_insecure:
            password = settings.password
            self._paho.username_pw_set(client, None if password is None else password.get_secret_value())
        else:
            self._paho.tls_set_context(open_context(self._settings))
        self._paho.max_inflight_messages = MAX_INFLIGHT
        self._paho.suppress_exceptions = True
        self._set_callbacks()
        if will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S)
            self._paho.will_set(will.topic, will.payload, qos=1, retain=will.retain, properties=properties)

    def open(self, timeout_s: float, give_up: Callable[[], bool] = lambda: False) -> None:
        """Connect and wait for the broker's word. Raises `BrokerUnreachableError` or `NotAuthorisedError`."""
        properties = _properties(
            PacketTypes.CONNECT, SessionExpiryInterval=SESSION_EXPIRY_S, MaximumPacketSize=MAX_PACKET_BYTES
        )
        self._paho.connect_timeout = timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            self._paho.connect(
                self._settings.broker_host,
                self._settings.port,
                keepalive=self._settings.keepalive_s,
                clean_start=self._clean_start,
                properties=properties,
            )
        except ssl.SSLError as error:
            raise explain(error, self._settings) from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        while time.monotonic() < deadline and not give_up():
            code = self._paho.loop(0.1)
            if self._happened and isinstance(opened := self._happened.popleft(), _Opened):
                return self._judge(opened)
            if code != MQTT_ERR_SUCCESS:
                if self._settings.broker_insecure:
                    raise self._unreachable(error_string(code))
                raise explain_silence(self._settings)
        raise self._unreachable(f"no answer to CONNECT within {timeout_s:g} s")

    def turn(self) -> list[Happening]:
        """Run paho's loop once and return what happened. Raises `LostError` when the connection has ended."""
        # Twice in a keep-alive is often enough; the broker allows for one and a half.
        code = self._paho.loop(min(TURN_S, self._settings.keepalive_s / 4))
        read = 0
        while code == MQTT_ERR_SUCCESS and read < len(self._happened) <= MAX_INFLIGHT:
            read = len(self._happened)
            code = self._paho.loop_read()  # paho's loop reads one packet only, which costs more than the packet
        happened: list[Happening] = []
        while self._happened:
            item = self._happened.popleft()
            if isinstance(item, _Closed):
                self._happened.appendleft(item)
                break
            if not isinstance(item, _Opened):
                happened.append(item)
        if happened:
            return happened
        if self._happened and isinstance(closed := self._happened.popleft(), _Closed):
            raise TakenOverError(closed.reason) if closed.code == _TAKEN_OVER else LostError(closed.reason)
        if code != MQTT_ERR_SUCCESS:
            raise LostError(error_string(code))
        return []

    def publish(self, packet: Packet) -> int:
        """Hand a packet to paho; return the number that its acknowledgement will carry."""
        properties = _properties(
            PacketTypes.PUBLISH, CorrelationData=packet.correlation, MessageExpiryInterval=packet.expiry_s
        )
        info = self._paho.publish(packet.topic, packet.payload, packet.qos, packet.retain, properties)
        return info.mid

    def subscribe(self, topic_filter: str, qos: int) -> int | None:
        """Ask for a filter; stored values follow. Return the number of its acknowledgement."""
        return self._paho.subscribe(topic_filter, options=SubscribeOptions(qos=qos))[1]

    def unsubscribe(self, topic_filter: str) -> None:
        """Undo `subscribe`."""
        self._paho.unsubscribe(topic_filter)

    def disconnect(self) -> None:
        """End in order: the broker forgets the session and the last will."""
        properties = _properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0)
        self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Normal disconnection"), properties)

    def release(self) -> None:
        """Close the socket if it is open, and let go of paho's callbacks, which would keep this object alive."""
        sock = self._paho.socket()
        for name in _CALLBACKS:
            setattr(self._paho, name, None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _judge(self, opened: _Opened) -> None:
        if opened.code in _BAD_CREDENTIALS:
            user = self._settings.client or "this client"
            raise NotAuthorisedError(
                f"the broker at {self._where} refused the credentials: {opened.reason}",
                f"check the account of {user}: user name, password file, the broker's list of accounts",
            )
        if opened.code >= 128:
            raise self._unreachable(opened.reason)

    def _unreachable(self, why: str) -> BrokerUnreachableError:
        return BrokerUnreachableError(
            f"no broker at {self._where}: {why}",
            "is Mosquitto running there? RAMSHARE_BROKER_HOST and RAMSHARE_BROKER_PORT say where to look",
        )

    def _set_callbacks(self) -> None:
        def on_connect(_c: Client, _u: object, _flags: object, reason: ReasonCode, _p: object) -> None:
            self._happened.append(_Opened(reason.value, str(reason)))

        def on_disconnect(_c: Client, _u: object, flags: Any, reason: ReasonCode, _p: object) -> None:
            by_broker = flags.is_disconnect_packet_from_server
            why = f"the broker ended it: {reason}" if by_broker else "the connection broke"
            self._happened.append(_Closed(reason.value, why))

        def on_message(_c: Client, _u: object, message: MQTTMessage) -> None:
            self._happened.append(_packet(message))

        def on_publish(_c: Client, _u: object, mid: int, reason: ReasonCode, _p: object) -> None:
            self._happened.append(Acknowledged(mid, str(reason) if reason.is_failure else ""))

        def on_subscribe(_c: Client, _u: object, mid: int, reasons: list[ReasonCode], _p: object) -> None:
            self._happened.append(Acknowledged(mid, "; ".join(str(r) for r in reasons if r.is_failure)))

        def on_socket_open(_c: Client, _u: object, sock: Any) -> None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def on_socket_register_write(_c: Client, _u: object, _sock: object) -> None:
            """Its presence is what matters: see the module."""

        found = locals()
        for name in _CALLBACKS:
            setattr(self._paho, name, found[name])


def _properties(packet_type: int, **values: int | bytes | None) -> Properties:
    """Return MQTT 5 properties without those that are None."""
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        if value is not None:
            setattr(properties, name, value)
    return properties


def _packet(message: MQTTMessage) -> Packet:
    try:
        topic = message.topic
    except UnicodeDecodeError:
        topic = ""
    correlation = getattr(message.properties, "CorrelationData", None)
    expiry_s = getattr(message.properties, "MessageExpiryInterval", None)
    return Packet(topic, bytes(message.payload), message.qos, message.retain, correlation, expiry_s)
