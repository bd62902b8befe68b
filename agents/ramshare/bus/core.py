"""The bus's own logic on any link: state that is published again, watches, requests and replies, one queue.

`mqtt.py` puts it on a broker, `memory.py` on a broker inside the process; both run this very code.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from math import ceil

from ramshare.bus.api import (
    Arrival,
    Connected,
    Disconnected,
    NotAuthorisedError,
    RequestArrived,
)
from ramshare.bus.counters import Counters, Drop
from ramshare.bus.decode import Unserved
from ramshare.bus.pending import Pending
from ramshare.bus.publisher import Publisher, check
from ramshare.bus.reception import Reception
from ramshare.bus.wire import Link, Packet, matches
from ramshare.errors import RamshareError
from ramshare.messages.base import Message
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import Request
from ramshare.messages.state import Status
from ramshare.topics import (
    EVERYBODY,
    OWN_HOST,
    VERSION,
    EventTopic,
    ReplyTopic,
    RequestTopic,
    Root,
    Topic,
    server_name,
)

log = logging.getLogger(__name__)

REPLY_EXPIRY_S = 60
"""A reply that cannot be delivered in this time is of no use any more; longer than any time-out in use."""
EVENT_EXPIRY_S = 300
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"


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
        self.counters = Counters(client)
        self.lock = threading.RLock()
        self._link = link
        self._root = root or Root()
        self._clock = clock
        self._publisher = Publisher(client, self._root, status_expiry_s)
        self._watched: Counter[str] = Counter()
        self._pending = Pending()
        self._reception = Reception(client, self._root, self.counters, self._pending, self._is_watched, self._refuse)
        self._dropped_before: int | None = None
        self._unheard: set[str] = set()
        """Subscriptions that the broker has yet to answer; before, `online` would promise what is not true."""
        self._online_is_due = False
        self._tell_online: Callable[[], None] = lambda: None

    @property
    def instance(self) -> str:
        """What tells this run of the client from earlier ones."""
        return self._publisher.instance

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
        with self.lock:
            packet = self._publisher.set_state(path, message)
            if isinstance(message, Status) and message.status == "online":
                self._say_online()
            else:
                self._link.send(packet)

    def republish(self) -> None:
        """Publish every state again, `status` last: who sees it has seen the rest."""
        with self.lock:
            for packet in self._publisher.everything():
                self._link.send(packet)
            self._say_online()

    def event(self, kind: str, message: Message) -> None:
        """Publish `event/<self>/<kind>`, not retained."""
        topic = EventTopic(self.client, kind)
        check(topic, message)
        self._send(topic, message, expiry_s=EVENT_EXPIRY_S)

    def watch_state(self, client: str = "+", path: str = "#") -> None:
        """Have the state topics of `client` (`+`: everyone) delivered as `StateArrived`."""
        self._watch(f"{self._root.name}/{VERSION}/state/{client}/{path}")

    def watch_requests(self, guest: str) -> None:
        """Have what the client `guest` asks its own host for delivered as `RequestArrived`."""
        self._watch(f"{self._root.name}/{VERSION}/request/{OWN_HOST}/{guest}/+")

    def unwatch_requests(self, guest: str) -> None:
        """Undo `watch_requests`."""
        self._unwatch(f"{self._root.name}/{VERSION}/request/{OWN_HOST}/{guest}/+")

    def watch_events(self, client: str = "+", kind: str = "#") -> None:
        """Have the events of `client` delivered as `EventArrived`."""
        self._watch(f"{self._root.name}/{VERSION}/event/{client}/{kind}")

    def unwatch_state(self, client: str, path: str = "#") -> None:
        """Undo `watch_state` with the same arguments."""
        self._unwatch(f"{self._root.name}/{VERSION}/state/{client}/{path}")

    def ask(self, server: str, request: Request, timeout_s: float) -> "Future[Reply]":
        """Send `request` to `server`. The future fails with `RequestTimeoutError` if no reply comes in time.

        A broadcast (`server` is `all`) has no reply: its future is done at once.
        """
        topic = RequestTopic(server, self.client, request.VERB)
        check(topic, request)
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
        server = OWN_HOST if arrived.to_own_host else server_name(self.client)
        self._send(ReplyTopic(arrived.client, server), reply, arrived.correlation, REPLY_EXPIRY_S)

    def next(self, timeout_s: float) -> Arrival | None:
        """Return what arrived next, or None after `timeout_s`."""
        return self._reception.next(timeout_s)

    def on_online(self, call: Callable[[], None]) -> None:
        """Call (from any thread) whenever `online` was sent: every subscription is taken."""
        self._tell_online = call

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever something was queued for `next`."""
        self._reception.on_arrival(wake)

    # --- what the link calls: see wire.LinkUser

    def last_will(self) -> Packet | None:
        """Return the retained `offline`; its `instance` tells an old will from a new one."""
        return self._publisher.status("offline")

    def on_up(self) -> None:
        """Publish everything and subscribe to everything; `online` follows when the broker has taken that."""
        with self.lock:
            self._dropped_before = None
            prefix = f"{self._root.name}/{VERSION}"
            # Replies at QoS 0: the broker neither queues nor stores them, so no secret ever lies in its database.
            wanted = {f"{prefix}/reply/{self.client}/+": 0, self._own_requests: 1}
            wanted |= dict.fromkeys([f"{prefix}/request/{EVERYBODY}/+/+", *self._watched], 1)
            self._unheard = set(wanted)
            self.republish()
            for topic_filter, qos in wanted.items():
                self._link.subscribe(topic_filter, qos)
            self._link.subscribe(DROPPED_TOPIC, 0)
        self._reception.tell(Connected())

    def on_subscribed(self, topic_filter: str, refusal: str) -> None:
        """Say `online` once everything is heard. Who may not hear its requests never says so."""
        if refusal:
            log.error("%s: the broker refused the subscription to %s: %s", self.client, topic_filter, refusal)
            if topic_filter == self._own_requests:
                return
        with self.lock:
            self._unheard.discard(topic_filter)
            if self._online_is_due:
                self._say_online()

    def on_down(self, reason: str) -> None:
        """Tell the agent; the link tries again."""
        self._reception.tell(Disconnected(reason))

    def on_packet(self, packet: Packet) -> None:
        """Queue one publication, or drop it. Never raises: nothing that arrives may stop the bus."""
        try:
            if packet.topic == DROPPED_TOPIC:
                self._note_dropped(packet)
            else:
                self._reception.take(packet, self._clock())
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
                f"the broker refused {packet.topic}: {reason}", "ramshare broker matrix says what each role may do"
            ),
        )

    def expire(self) -> None:
        """Fail the requests whose time is over."""
        self._pending.expire(self._clock())

    # --- inside

    def _say_online(self) -> None:
        self._online_is_due = bool(self._unheard)
        online = self._publisher.online()
        if online is not None and not self._unheard:
            self._link.send(online)
            self._tell_online()

    @property
    def _own_requests(self) -> str:
        return f"{self._root.name}/{VERSION}/request/{server_name(self.client)}/+/+"

    def _watch(self, topic_filter: str) -> None:
        with self.lock:
            self._watched[topic_filter] += 1
            self._unheard.add(topic_filter)
            self._link.subscribe(topic_filter, 1)

    def _unwatch(self, topic_filter: str) -> None:
        with self.lock:
            self._watched[topic_filter] -= 1
            if self._watched[topic_filter] <= 0:
                del self._watched[topic_filter]
                self._link.unsubscribe(topic_filter)

    def _is_watched(self, topic: str) -> bool:
        return any(matches(watched, topic) for watched in list(self._watched))

    def _send(
        self, topic: Topic, message: Message, correlation: bytes | None = None, expiry_s: int | None = None
    ) -> None:
        with self.lock:
            self._link.send(self._publisher.message(topic, message, correlation, expiry_s))

    def _refuse(self, unserved: Unserved, code: ErrorCode, sentence: str) -> None:
        reply = Reply(request_id=unserved.request_id, error=code, sentence=sentence)
        self._send(unserved.topic.reply(), reply, unserved.correlation, REPLY_EXPIRY_S)

    def _note_dropped(self, packet: Packet) -> None:
        dropped = int(packet.payload[:20])
        if self._dropped_before is not None and dropped > self._dropped_before:
            self.counters.note(
                Drop.BROKER,
                "some client's snapshot may have gaps; raise max_queued_messages",
                dropped - self._dropped_before,
            )
        self._dropped_before = dropped
