"""The bus's own logic on any link: state that is published again, watches, requests and replies, one queue.

`mqtt.py` puts it on a broker, `memory.py` on a broker inside the process; both run this very code.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from itertools import count
from math import ceil
from uuid import uuid4

from ramshare import __version__
from ramshare.bus.api import Arrival, Connected, Disconnected, NotAuthorisedError, RequestArrived
from ramshare.bus.counters import Counters, Drop
from ramshare.bus.decode import ReplyArrived, UndecodableError, Unserved, decode
from ramshare.bus.inbox import Inbox
from ramshare.bus.pending import Pending
from ramshare.bus.wire import Link, Packet, matches
from ramshare.errors import RamshareError
from ramshare.messages.base import MAX_PAYLOAD_BYTES, Message
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import Request
from ramshare.messages.state import Status
from ramshare.topics import (
    EVERYBODY,
    VERSION,
    BadTopicError,
    EventTopic,
    ReplyTopic,
    RequestTopic,
    Root,
    StateTopic,
    Topic,
    model_of,
    role,
)

log = logging.getLogger(__name__)

STATUS = "status"
ROLES_WITHOUT_STATUS = frozenset({"cli", "dashboard"})
"""People come and go: their status would only pile up on the broker."""
REPLY_EXPIRY_S = 60
"""A reply that cannot be delivered in this time is of no use any more; longer than any time-out in use."""
EVENT_EXPIRY_S = 300
REMEMBERED_CLEARS = 1_000
"""Topics cleared in this run that are cleared again on reconnect: a broker that crashed may bring them back."""
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"


class MessageTooLargeError(RamshareError):
    """A message of ours is larger than any receiver accepts."""


class CoreBus:
    """Implements `api.Bus` on a `Link`. Locks: state changes are published in the order in which they were made."""

    def __init__(
        self,
        client: str,
        link: Link,
        *,
        root: Root | None = None,
        clock: Callable[[], float] = time.monotonic,
        status_expiry_s: int = 180,
    ) -> None:
        self.client = client
        self.instance = uuid4().hex[:16]
        self.counters = Counters(client)
        self._link = link
        self._root = root or Root()
        self._clock = clock
        self._status_expiry_s = status_expiry_s
        self._has_status = role(client) not in ROLES_WITHOUT_STATUS
        self._seq = count(1)
        self.lock = threading.RLock()
        self._state: dict[str, Message] = {}
        self._cleared: OrderedDict[str, None] = OrderedDict()
        self._watched: Counter[str] = Counter()
        self._pending = Pending()
        self._inbox = Inbox(self.counters)
        self._dropped_at_start: int | None = None

    # --- what agents call: see api.Bus

    def connect(self, timeout_s: float = 10.0) -> None:
        """Connect and wait. Raises `BrokerUnreachableError` or `NotAuthorisedError`."""
        self._link.start(self, timeout_s)

    def close(self) -> None:
        """Publish `offline`, disconnect and stop; open requests fail."""
        self._link.stop(self.last_will())
        self._pending.close()

    def set_state(self, path: str, message: Message | None) -> None:
        """Publish `state/<self>/<path>`, retained, now and on every reconnect; None clears it."""
        topic = StateTopic(self.client, path)
        if message is not None:
            _check(topic, message)
        with self.lock:
            if message is None:
                self._state.pop(path, None)
                self._cleared[path] = None
                self._cleared.move_to_end(path)
                if len(self._cleared) > REMEMBERED_CLEARS:
                    self._cleared.popitem(last=False)
                self._link.send(Packet(topic.render(self._root.name), b"", retain=True))
            else:
                self._cleared.pop(path, None)
                self._state[path] = message.stamped(self.instance, next(self._seq), datetime.now(UTC))
                self._link.send(self._state_packet(path))

    def republish(self) -> None:
        """Publish every state again, `status` last: who sees it has seen the rest."""
        with self.lock:
            for path in self._cleared:
                self._link.send(Packet(StateTopic(self.client, path).render(self._root.name), b"", retain=True))
            for path in [path for path in self._state if path != STATUS]:
                old = self._state[path]
                self._state[path] = old.model_copy(update={"seq": next(self._seq)})
                self._link.send(self._state_packet(path))
            if self._has_status:
                self._link.send(self._status_packet("online"))

    def event(self, kind: str, message: Message) -> None:
        """Publish `event/<self>/<kind>`, not retained."""
        topic = EventTopic(self.client, kind)
        _check(topic, message)
        self._send(topic, message, expiry_s=EVENT_EXPIRY_S)

    def watch_state(self, client: str = "+", path: str = "#") -> None:
        """Have the state topics of `client` (`+`: everyone) delivered as `StateArrived`."""
        self._watch(f"{self._root.name}/{VERSION}/state/{client}/{path}")

    def watch_events(self, client: str = "+", kind: str = "#") -> None:
        """Have the events of `client` delivered as `EventArrived`."""
        self._watch(f"{self._root.name}/{VERSION}/event/{client}/{kind}")

    def unwatch_state(self, client: str, path: str = "#") -> None:
        """Undo `watch_state` with the same arguments."""
        topic_filter = f"{self._root.name}/{VERSION}/state/{client}/{path}"
        with self.lock:
            self._watched[topic_filter] -= 1
            if self._watched[topic_filter] <= 0:
                del self._watched[topic_filter]
                self._link.unsubscribe(topic_filter)

    def ask(self, server: str, request: Request, timeout_s: float) -> "Future[Reply]":
        """Send `request` to `server`. The future fails with `RequestTimeoutError` if no reply comes in time.

        A broadcast (`server` is `all`) has no reply: its future is done at once.
        """
        topic = RequestTopic(server, self.client, request.VERB)
        _check(topic, request)
        if server == EVERYBODY:
            self._send(topic, request, expiry_s=ceil(timeout_s))
            done: Future[Reply] = Future()
            done.set_result(Reply(request_id=request.request_id, sentence="sent to everybody; nobody replies"))
            return done
        correlation, waiting = self._pending.open(server, request.VERB, request.request_id, timeout_s, self._clock())
        try:
            self._send(topic, request, correlation, max(1, ceil(timeout_s)))
        except RamshareError as error:
            self._pending.fail(correlation, error)
        return waiting.future

    def answer(self, arrived: RequestArrived, reply: Reply) -> None:
        """Reply to a request; the topic is derived from the request's own topic, never from what it carried."""
        self._send(ReplyTopic(arrived.client, self.client), reply, arrived.correlation, REPLY_EXPIRY_S)

    def next(self, timeout_s: float) -> Arrival | None:
        """Return what arrived next, or None after `timeout_s`."""
        return self._inbox.next(timeout_s)

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever something was queued for `next`."""
        self._inbox.on_arrival(wake)

    # --- what the link calls: see wire.LinkUser

    def last_will(self) -> Packet | None:
        """Return the retained `offline`; its `instance` tells an old will from a new one."""
        return self._status_packet("offline") if self._has_status else None

    def on_up(self) -> None:
        """Publish everything, then subscribe to everything."""
        with self.lock:
            self._dropped_at_start = None
            self.republish()
            prefix = f"{self._root.name}/{VERSION}"
            # Replies at QoS 0: the broker neither queues nor stores them, so no secret ever lies in its database.
            self._link.subscribe(f"{prefix}/reply/{self.client}/+", 0)
            for server in (self.client, EVERYBODY):
                self._link.subscribe(f"{prefix}/request/{server}/+/+", 1)
            for topic_filter in self._watched:
                self._link.subscribe(topic_filter, 1)
            self._link.subscribe(DROPPED_TOPIC, 0)
        self._inbox.put(Connected())

    def on_down(self, reason: str) -> None:
        """Tell the agent; the link tries again."""
        self._inbox.put(Disconnected(reason))

    def on_packet(self, packet: Packet) -> None:
        """Check and queue one publication. Never raises: nothing that arrives may stop the bus."""
        try:
            if packet.topic == DROPPED_TOPIC:
                self._note_dropped(packet)
                return
            decoded = decode(self._root, self.client, packet)
            if isinstance(decoded, ReplyArrived):
                if not self._pending.resolve(decoded.server, decoded.correlation, decoded.reply):
                    self.counters.note(Drop.UNEXPECTED, f"from {decoded.server}: late, repeated or never asked for")
            elif isinstance(decoded, RequestArrived):
                self._offer_request(packet, decoded)
            elif any(matches(watched, packet.topic) for watched in list(self._watched)):
                self._inbox.put(decoded)
        except UndecodableError as error:
            self.counters.note(error.kind, error.detail)
            if error.answer_to is not None:
                self._refuse(error.answer_to, ErrorCode.BAD_REQUEST, f"{error.kind.value}: {error.detail}")
        except Exception as error:
            # The type only: an exception's text may quote the payload.
            log.error("%s: cannot handle %r: %s", self.client, packet.topic[:160], type(error).__name__)
            self.counters.note(Drop.MALFORMED, repr(packet.topic[:160]))

    def on_refused(self, packet: Packet, reason: str) -> None:
        """Count a publication that did not go out, and fail the request that it was."""
        self.counters.note(Drop.REFUSED, f"{packet.topic}: {reason}")
        self._pending.fail(
            packet.correlation,
            NotAuthorisedError(
                f"the broker refused {packet.topic}: {reason}", "look at the account's name and broker-config/acl"
            ),
        )

    def expire(self) -> None:
        """Fail the requests whose time is over."""
        self._pending.expire(self._clock())

    # --- inside

    def _watch(self, topic_filter: str) -> None:
        with self.lock:
            self._watched[topic_filter] += 1
            self._link.subscribe(topic_filter, 1)

    def _send(
        self, topic: Topic, message: Message, correlation: bytes | None = None, expiry_s: int | None = None
    ) -> None:
        with self.lock:
            stamped = message.stamped(self.instance, next(self._seq), datetime.now(UTC))
            payload = _encode(topic, stamped)
            self._link.send(Packet(topic.render(self._root.name), payload, correlation=correlation, expiry_s=expiry_s))

    def _state_packet(self, path: str) -> Packet:
        topic = StateTopic(self.client, path)
        expiry_s = self._status_expiry_s if path == STATUS else None
        return Packet(topic.render(self._root.name), _encode(topic, self._state[path]), retain=True, expiry_s=expiry_s)

    def _status_packet(self, status: str) -> Packet:
        known = self._state.get(STATUS)
        version = known.version if isinstance(known, Status) else __version__
        message = Status.model_validate({"status": status, "version": version})
        topic = StateTopic(self.client, STATUS)
        payload = _encode(topic, message.stamped(self.instance, next(self._seq), datetime.now(UTC)))
        expiry_s = self._status_expiry_s if status == "online" else None
        return Packet(topic.render(self._root.name), payload, retain=True, expiry_s=expiry_s)

    def _offer_request(self, packet: Packet, arrived: RequestArrived) -> None:
        if arrived.client == self.client and f"/{EVERYBODY}/" in packet.topic:
            return  # our own broadcast
        if not self._inbox.put(arrived):
            topic = RequestTopic(self.client, arrived.client, arrived.verb)
            busy = Unserved(topic, arrived.correlation, arrived.request.request_id)
            self._refuse(
                busy, ErrorCode.BUSY, f"{self.client} has too many requests waiting; ask again in a few seconds"
            )

    def _refuse(self, unserved: Unserved, code: ErrorCode, sentence: str) -> None:
        reply = Reply(request_id=unserved.request_id, error=code, sentence=sentence[:1000])
        self._send(unserved.topic.reply(), reply, unserved.correlation, REPLY_EXPIRY_S)

    def _note_dropped(self, packet: Packet) -> None:
        dropped = int(packet.payload[:20])
        if self._dropped_at_start is not None and dropped > self._dropped_at_start:
            self.counters.note(
                Drop.BROKER,
                "some client's snapshot may have gaps; raise max_queued_messages in broker-config",
                dropped - self._dropped_at_start,
            )
        self._dropped_at_start = dropped


def _check(topic: Topic, message: Message) -> None:
    """Refuse, at the sender, what no receiver would accept."""
    model = model_of(topic)
    if not isinstance(message, model):
        raise BadTopicError(f"{topic.render()} carries {model.__name__}, not {type(message).__name__}")


def _encode(topic: Topic, message: Message) -> bytes:
    payload = message.to_json()
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageTooLargeError(f"{topic.render()}: {len(payload)} bytes, the limit is {MAX_PAYLOAD_BYTES}")
    return payload
