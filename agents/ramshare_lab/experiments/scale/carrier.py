"""Many clients of the bus over one connection: each has the product's own `CoreBus`, the carrier has the link.

A real agent has a connection of its own. Ten thousand of them in Python would measure this machine's Python, not the
manager; so a carrier's account may speak for everybody. What differs from a cluster: one TLS session carries many
agents' traffic, and an agent that dies leaves no last will.
"""

import queue
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from ramshare.bus.core import DROPPED_TOPIC, CoreBus
from ramshare.bus.counters import Drop
from ramshare.bus.link import MqttLink
from ramshare.bus.wire import LinkUser, Packet
from ramshare.settings import BrokerSettings
from ramshare.topics import EVERYBODY, VERSION

Call = Callable[[], object]
NAP_S = 0.05
EXPIRE_EVERY_S = 1.0


class Carrier:
    """Implements `wire.LinkUser`: one link for all its buses, and one loop on which they are served."""

    def __init__(self, settings: BrokerSettings, client: str) -> None:
        self.lock = threading.RLock()
        self.reports = 0
        """Reports of guests that reached a lender here; they end here."""
        self._link = MqttLink(settings, client)
        self._prefix = f"{settings.root}/{VERSION}/"
        self._buses: dict[str, CoreBus] = {}
        self._listeners: list[CoreBus] = []
        self._asked: dict[str, list[LinkUser] | None] = {}
        """Subscription to those who wait for the broker's word; None: it has taken it."""
        self._up = False
        self._posted: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Call]] = []
        self._numbers = count()
        self.after(EXPIRE_EVERY_S, self.expire)

    # --- for those it carries

    def join(self, client: str, arrived: Callable[[CoreBus], object], *, listens: bool = False) -> CoreBus:
        """Return a bus of this client; `arrived` is called on the loop when something waits for it.

        One that `listens` hears what state the carrier subscribes to.
        """
        bus = CoreBus(client, _Line(self))
        bus.lock = self.lock  # one for all: the link calls in with it held
        bus.on_arrival(lambda: self.post(lambda: arrived(bus)))
        self._buses[client] = bus
        if listens:
            self._listeners.append(bus)
        bus.connect()
        return bus

    def post(self, call: Call) -> None:
        """Have `call` run on the loop; safe from any thread."""
        self._posted.put(call)

    def after(self, delay_s: float, call: Call) -> None:
        """Have `call` run on the loop later; to be called on the loop, or before it runs."""
        heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), call))

    def connect(self, timeout_s: float) -> None:
        """Connect; returns when the broker has taken what everybody says and wants to hear."""
        self._link.start(self, timeout_s)

    def run_for(self, seconds: float) -> None:
        """Run the loop for a while."""
        until_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < until_s:
            while self._timers and self._timers[0][0] <= now_s:
                heappop(self._timers)[2]()
            due_s = min(until_s, self._timers[0][0] if self._timers else until_s) - now_s
            try:
                self._posted.get(timeout=max(0.0, min(due_s, NAP_S)))()
            except queue.Empty:
                continue
            for _ in range(self._posted.qsize()):
                self._posted.get()()

    def dropped(self) -> int:
        """Return how many messages the broker says it has dropped."""
        return max((bus.counters[Drop.BROKER] for bus in self._buses.values()), default=0)

    def close(self) -> None:
        """Disconnect."""
        self._link.stop(None)

    # --- for the lines

    def begin(self, user: LinkUser) -> None:
        """Let a bus that joins a session begin at once."""
        with self.lock:
            if self._up:
                user.on_up()

    def send(self, packet: Packet) -> None:
        """Publish for one of them."""
        with self.lock:
            self._link.send(packet)

    def subscribe(self, user: LinkUser, topic_filter: str, qos: int) -> None:
        """Subscribe, once for all who want the same."""
        with self.lock:
            if not self._up:
                return
            waiting = self._asked.get(topic_filter, ())
            if waiting is None:
                user.on_subscribed(topic_filter, "")
            elif waiting:
                self._asked[topic_filter] = [*waiting, user]
            else:
                self._asked[topic_filter] = [user]
                self._link.subscribe(topic_filter, qos)

    # --- wire.LinkUser, for the link

    def last_will(self) -> Packet | None:
        """See the module."""
        return None

    def on_up(self) -> None:
        """Everybody's session begins."""
        self._up = True
        self._asked.clear()
        for bus in self._buses.values():
            bus.on_up()

    def on_down(self, reason: str) -> None:
        """Everybody's session is gone."""
        self._up = False
        for bus in self._buses.values():
            bus.on_down(reason)

    def on_subscribed(self, topic_filter: str, refusal: str) -> None:
        """Pass the broker's word on."""
        with self.lock:
            waiting = self._asked.get(topic_filter) or []
            self._asked[topic_filter] = None
        for user in waiting:
            user.on_subscribed(topic_filter, refusal)

    def on_packet(self, packet: Packet) -> None:
        """Give a publication to whom it is for."""
        channel, _, rest = packet.topic.removeprefix(self._prefix).partition("/")
        first = rest.partition("/")[0]
        if packet.topic == DROPPED_TOPIC:
            next(iter(self._buses.values())).on_packet(packet)
        elif channel == "state" and rest.endswith("/memory"):
            self.reports += 1
        elif channel == "state":
            for bus in self._listeners:
                bus.on_packet(packet)
        elif first == EVERYBODY:
            for bus in self._buses.values():
                bus.on_packet(packet)
        elif first in self._buses:
            self._buses[first].on_packet(packet)

    def on_refused(self, packet: Packet, reason: str) -> None:
        """Tell whose publication was refused."""
        parts = packet.topic.removeprefix(self._prefix).split("/")
        sender = parts[2] if parts[0] in ("request", "reply") else parts[1]
        if sender in self._buses:
            self._buses[sender].on_refused(packet, reason)

    def expire(self) -> None:
        """Fail the requests whose time is over."""
        for bus in self._buses.values():
            bus.expire()
        self.after(EXPIRE_EVERY_S, self.expire)


class _Line:
    """Implements `wire.Link` for one bus."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._user: LinkUser | None = None

    def start(self, user: LinkUser, timeout_s: float) -> None:
        self._user = user
        self._carrier.begin(user)

    def stop(self, farewell: Packet | None) -> None:
        """The carrier disconnects, for all."""

    def send(self, packet: Packet) -> None:
        self._carrier.send(packet)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        assert self._user is not None
        self._carrier.subscribe(self._user, topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        """Nobody here does."""
