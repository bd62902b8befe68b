"""The bounded queue between the network and an agent's loop; what has to go goes in a stated order, counted, logged."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count

from ramshare.bus.api import Arrival, Connected, EventArrived, RequestArrived, StateArrived
from ramshare.bus.counters import Counters, Drop

MAX_EVENTS = 10_000
"""About 10 MB; an agent that is so far behind does not need the oldest ones."""
MAX_REQUESTS = 256
"""More than any server can work off before its clients' time-outs; the rest is answered `busy`."""
MAX_STATES = 100_000
"""As many as the broker's `max_queued_messages`: a snapshot that got here fits."""
COALESCE_FROM = 1_000
"""With so many states waiting, a newer value of a topic replaces the older one instead of queueing behind it."""


class Inbox:
    """First in, first out. Full: the oldest event goes, a newer state replaces an older one, a request is refused."""

    def __init__(
        self,
        counters: Counters,
        *,
        max_events: int = MAX_EVENTS,
        max_requests: int = MAX_REQUESTS,
        max_states: int = MAX_STATES,
        coalesce_from: int = COALESCE_FROM,
    ) -> None:
        self._counters = counters
        self._limits = (max_events, max_requests, max_states, coalesce_from)
        self._entries: OrderedDict[int, Arrival] = OrderedDict()
        self._newest: dict[tuple[str, str], int] = {}
        self._events: deque[int] = deque()
        self._requests = 0
        self._states = 0
        self._keys = count()
        self._filled = threading.Condition()
        self._wake: Callable[[], None] = lambda: None

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something was queued."""
        self._wake = wake

    def put(self, arrival: Arrival) -> bool:
        """Queue; False means that it was refused (a request, or a state beyond every bound)."""
        with self._filled:
            taken = self._put(arrival)
            if taken:
                self._filled.notify()
        if taken:
            self._wake()
        return taken

    def next(self, timeout_s: float) -> Arrival | None:
        """Return the oldest, waiting up to `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._filled:
            while not self._entries:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return None
                self._filled.wait(remaining)
            return self._take()

    def __len__(self) -> int:
        with self._filled:
            return len(self._entries)

    def _put(self, arrival: Arrival) -> bool:
        max_events, max_requests, max_states, coalesce_from = self._limits
        key = next(self._keys)
        match arrival:
            case EventArrived():
                if len(self._events) >= max_events:
                    del self._entries[self._events.popleft()]
                    self._counters.note(Drop.EVENT_OVERFLOW, f"event/{arrival.client}/{arrival.kind}")
                self._events.append(key)
            case RequestArrived():
                if self._requests >= max_requests:
                    self._counters.note(Drop.BUSY, f"{arrival.verb} of {arrival.client}")
                    return False
                self._requests += 1
            case StateArrived():
                place = (arrival.client, arrival.path)
                if self._states >= coalesce_from and place in self._newest:
                    self._entries[self._newest[place]] = arrival
                    return True
                if self._states >= max_states:
                    self._counters.note(Drop.STATE_OVERFLOW, f"state/{arrival.client}/{arrival.path}")
                    return False
                self._newest[place] = key
                self._states += 1
            case Connected():
                self._newest.clear()  # what a new connection brings is told after it, as it was heard
        self._entries[key] = arrival
        return True

    def _take(self) -> Arrival:
        key, arrival = self._entries.popitem(last=False)
        match arrival:
            case EventArrived():
                self._events.popleft()
            case RequestArrived():
                self._requests -= 1
            case StateArrived(client, path):
                self._states -= 1
                if self._newest.get((client, path)) == key:
                    del self._newest[(client, path)]
        return arrival
