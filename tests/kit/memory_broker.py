"""A broker inside the process, for tests; `memory.py` connects to it. Time is the test's.

It has what the design relies on: wildcards, retained values and their clearing, message expiry, a last will with delay,
sessions that queue while a client is away, and the rules of the real brokers. Delivery is in order and
happens within the publishing call. The broker tests run one suite against this and against a real Mosquitto.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from kit.acl import Access, allowed
from ramshare.broker.rights import Rights
from ramshare.bus.api import BrokerUnreachableError, NotAuthorisedError
from ramshare.bus.session import SESSION_EXPIRY_S, WILL_DELAY_S
from ramshare.bus.wire import LinkUser, Packet, matches
from ramshare.topics import DEFAULT_ROOT, Root


@dataclass
class _Client:
    """What the broker knows of one client: its connection, if any, and its session."""

    user: LinkUser
    connected: bool = True
    will: Packet | None = None
    gone_at: float = 0.0
    filters: dict[str, int] = field(default_factory=dict)
    queued: list[tuple[Packet, float]] = field(default_factory=list)
    """What arrived while the client was away, and until when it is of use."""


class MemoryBroker:
    """Stands in for Mosquitto. `accounts` None: everybody has one."""

    def __init__(
        self, accounts: Iterable[str] | None = None, root: str = DEFAULT_ROOT, everybody: Rights | None = None
    ) -> None:
        self.now_s = 1000.0
        self.running = True
        self.root = Root.of(root)
        self.published: list[tuple[str, Packet]] = []
        """Every publication that was accepted, with its author, for assertions."""
        self.refused: list[tuple[str, Packet]] = []
        self.holds_subscriptions = False
        """Answers no subscription while it is true, as a broker that is slow."""
        self._accounts = None if accounts is None else frozenset(accounts)
        self.lax = False
        """Grants everything, as a broker with wrong rules: agents hold by themselves."""
        self._everybody = everybody or Rights()
        self._clients: dict[str, _Client] = {}
        self._retained: dict[str, tuple[Packet, float]] = {}
        self._held: list[tuple[str, str, int]] = []
        self._work: deque[Callable[[], None]] = deque()
        self._working = False
        self._guard = threading.Lock()

    # --- what tests do to it

    def publish(self, client: str, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
        """Publish raw bytes as a client that need not be one of ours; the rules apply."""
        packet = Packet(topic, payload, qos, retain)
        self._do(lambda: self._publish(client, packet, lambda _reason: None))

    def retained(self) -> dict[str, bytes]:
        """Return the stored topics and payloads."""
        self._forget()
        return {topic: packet.payload for topic, (packet, _) in self._retained.items()}

    def advance(self, seconds: float) -> None:
        """Let time pass: last wills become due, messages and sessions expire, requests time out."""
        self.now_s += seconds
        self._do(self._tick)

    def crash(self, client: str) -> None:
        """The client's process dies: no farewell, no reconnect; its will follows after `WILL_DELAY_S`."""
        self._do(lambda: self._lose(self._clients[client]))

    def cut(self, client: str) -> None:
        """Break the client's connection; it stays away until `reconnect`."""
        self._do(lambda: self._lose(self._clients[client], "the connection broke"))

    def reconnect(self, client: str) -> None:
        """Have a client that was cut connect again, to its old session if that has not expired."""
        self._do(lambda: self._welcome(self._clients[client]))

    def restart(self, *, keep: Iterable[str] | None = None) -> None:
        """Kill and start again: sessions end without a will, of the stored topics only `keep` (None: all) are left."""
        present = [client for client in self._clients.values() if client.connected]
        for client in present:
            self._do(lambda c=client: self._lose(c, "the connection broke"))  # type: ignore[misc]
        kept = self._retained if keep is None else {t: self._retained[t] for t in keep if t in self._retained}
        self._retained = dict(kept)
        for client in self._clients.values():
            client.will = None
            client.filters.clear()
            client.queued.clear()
        for client in present:
            self._do(lambda c=client: self._welcome(c))  # type: ignore[misc]

    def answer_subscriptions(self, count: int | None = None) -> None:
        """Take the oldest `count` of the subscriptions that were held back; None: all, and hold none back any more."""
        self.holds_subscriptions = False
        answered, self._held = self._held[:count], self._held[len(self._held) if count is None else count :]
        for name, topic_filter, qos in answered:
            self.subscribe(name, topic_filter, qos)
        self.holds_subscriptions = count is not None

    def until(self, packet: Packet) -> float:
        """Return when a packet of now expires."""
        return self.now_s + (float("inf") if packet.expiry_s is None else packet.expiry_s)

    # --- what links do

    def connect(self, name: str, user: LinkUser) -> None:
        """Begin a clean session. Raises as `Bus.connect`."""
        if not self.running:
            raise BrokerUnreachableError("no broker in this process: it is stopped", "start it")
        if self._accounts is not None and name not in self._accounts:
            raise NotAuthorisedError(f"the broker refused the credentials of {name}", "make an account for it")
        old = self._clients.get(name)
        if old is not None:
            self._do(lambda: self._replace(old))
        client = _Client(user)
        self._clients[name] = client
        self._do(lambda: self._welcome(client))

    def disconnect(self, name: str) -> None:
        """End a session in order: no will."""
        self._do(lambda: self._discard(name))

    def send(self, name: str, packet: Packet) -> None:
        """Take a publication of `name`."""
        client = self._clients.get(name)
        if client is not None:
            user = client.user
            self._do(lambda: self._publish(name, packet, lambda reason: user.on_refused(packet, reason)))

    def subscribe(self, name: str, topic_filter: str, qos: int) -> None:
        """Grant a subscription and replay what is stored, or refuse it; the rules filter what is delivered, too."""
        self._do(lambda: self._subscribe(name, topic_filter, qos))

    def unsubscribe(self, name: str, topic_filter: str) -> None:
        """Undo `subscribe`."""
        client = self._clients.get(name)
        if client is not None:
            client.filters.pop(topic_filter, None)

    def is_up(self, name: str) -> bool:
        """Return whether `name` has a connection."""
        client = self._clients.get(name)
        return client is not None and client.connected

    # --- inside; all of it runs in `_do`, one piece of work after the other

    def _do(self, work: Callable[[], None]) -> None:
        """Queue work and do all there is, unless this stack or another thread is at it already."""
        with self._guard:
            self._work.append(work)
            if self._working:
                return
            self._working = True
        while True:
            with self._guard:
                if not self._work:
                    self._working = False
                    return
                job = self._work.popleft()
            try:
                job()
            except BaseException:
                with self._guard:
                    self._working = False
                raise

    def _allows(self, client: str, access: Access, topic: str) -> bool:
        return self.lax or allowed(client, access, topic, self.root.name, self._everybody)

    def _publish(self, author: str, packet: Packet, refuse: Callable[[str], None]) -> None:
        if not self._allows(author, "write", packet.topic):
            self.refused.append((author, packet))
            refuse("Not authorized")
            return
        self.published.append((author, packet))
        if packet.retain:
            self._retained.pop(packet.topic, None)
            if packet.payload:
                self._retained[packet.topic] = (packet, self.until(packet))
        for name, client in list(self._clients.items()):
            granted = [qos for topic_filter, qos in client.filters.items() if matches(topic_filter, packet.topic)]
            if granted and self._allows(name, "read", packet.topic):
                self._deliver(client, replace(packet, retain=False, qos=min(packet.qos, max(granted))))

    def _deliver(self, client: _Client, packet: Packet) -> None:
        if client.connected:
            client.user.on_packet(packet)
        elif packet.qos > 0:
            client.queued.append((packet, self.until(packet)))

    def _subscribe(self, name: str, topic_filter: str, qos: int) -> None:
        client = self._clients.get(name)
        if client is None:
            return
        if self.holds_subscriptions:
            self._held.append((name, topic_filter, qos))
            return
        if not self._allows(name, "subscribe", topic_filter):
            client.user.on_subscribed(topic_filter, "Not authorized")
            return
        self._forget()
        client.filters[topic_filter] = qos
        for topic, (packet, until) in list(self._retained.items()):
            if matches(topic_filter, topic) and self._allows(name, "read", topic):
                left_s = None if packet.expiry_s is None else int(until - self.now_s)
                self._deliver(client, replace(packet, qos=min(packet.qos, qos), expiry_s=left_s))
        client.user.on_subscribed(topic_filter, "")

    def _welcome(self, client: _Client) -> None:
        client.connected = True
        client.will = client.user.last_will()
        queued, client.queued = client.queued, []
        for packet, until in queued:
            if until > self.now_s:
                client.user.on_packet(packet)
        with client.user.lock:
            client.user.on_up()

    def _lose(self, client: _Client, reason: str = "") -> None:
        client.connected = False
        client.gone_at = self.now_s
        if reason:
            client.user.on_down(reason)

    def _discard(self, name: str) -> None:
        self._clients.pop(name, None)

    def _replace(self, client: _Client) -> None:
        """A clean start under the same name ends the old session; Mosquitto then forgets the old will."""
        if client.connected:
            self._lose(client, "another client connected with this name")

    def _tick(self) -> None:
        self._forget()
        for name, client in list(self._clients.items()):
            away_s = 0.0 if client.connected else self.now_s - client.gone_at
            if client.will is not None and away_s >= WILL_DELAY_S:
                will, client.will = client.will, None
                self._publish(name, will, lambda _reason: None)
            if away_s >= SESSION_EXPIRY_S:
                client.filters.clear()
                client.queued.clear()
            client.user.expire()

    def _forget(self) -> None:
        for topic, (_, until) in list(self._retained.items()):
            if until <= self.now_s:
                del self._retained[topic]
