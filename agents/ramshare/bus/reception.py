"""What becomes of a publication that arrived: through the gate, decoded, to the request it answers or into the inbox.

State waits as it came and is decoded when its turn has come; all else is checked at once, so that it can be answered.
"""

import time
from collections.abc import Callable

from ramshare.bus.api import Arrival, Connected, Disconnected, EventArrived, RequestArrived, StateArrived
from ramshare.bus.counters import Counters, Drop
from ramshare.bus.decode import Decoded, ReplyArrived, UndecodableError, Unserved, decode
from ramshare.bus.fair import Entry, Kind
from ramshare.bus.gate import Gate
from ramshare.bus.inbox import Inbox
from ramshare.bus.pending import Pending
from ramshare.bus.wire import Packet
from ramshare.messages.base import MAX_PAYLOAD_BYTES
from ramshare.messages.replies import ErrorCode
from ramshare.topics import EVERYBODY, OWN_HOST, VERSION, RequestTopic, Root, server_name

Refuse = Callable[[Unserved, ErrorCode, str], None]


class Reception:
    """Takes packets from one thread, the network's, and gives arrivals to another."""

    def __init__(
        self,
        client: str,
        root: Root,
        counters: Counters,
        pending: Pending,
        is_watched: Callable[[str], bool],
        refuse: Refuse,
    ) -> None:
        """`is_watched` tells of a topic whether the agent asked for it; `refuse` answers what cannot be served."""
        self._client = client
        self._root = root
        self._states = f"{root.name}/{VERSION}/state/"
        self._counters = counters
        self._pending = pending
        self._is_watched = is_watched
        self._refuse = refuse
        self._gate = Gate(client, counters)
        self._inbox = Inbox(counters)

    def take(self, packet: Packet, now_s: float) -> None:
        """Queue or drop a packet that arrived at `now_s`."""
        if packet.topic.startswith(self._states):
            self._queue_state(packet)
        elif self._gate.admits(packet.topic, now_s):
            self._take_decoded(packet)

    def tell(self, arrival: Connected | Disconnected) -> None:
        """Queue what the link itself has to say between what came before and what comes after."""
        self._inbox.put_last(arrival)

    def next(self, timeout_s: float) -> Arrival | None:
        """Return what arrived next, or None after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (found := self._inbox.next(max(0.0, deadline - time.monotonic()))) is not None:
            if not isinstance(found, Packet):
                return found
            state = self._decoded(found)
            if isinstance(state, StateArrived):
                return state
        return None

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something was queued."""
        self._inbox.on_arrival(wake)

    def __len__(self) -> int:
        """What waits for the agent."""
        return len(self._inbox)

    def _queue_state(self, packet: Packet) -> None:
        if len(packet.payload) > MAX_PAYLOAD_BYTES:
            self._decoded(packet)  # says why it cannot be
        elif self._is_watched(packet.topic):
            sender = packet.topic[len(self._states) :].partition("/")[0]
            if sender == self._client and not packet.payload:
                self._inbox.put_last(packet)
            else:
                self._inbox.put(sender, Entry(Kind.STATE, packet, packet.topic))

    def _take_decoded(self, packet: Packet) -> None:
        match self._decoded(packet):
            case ReplyArrived(server, correlation, reply):
                if not self._pending.resolve(server, correlation, reply):
                    self._counters.note(Drop.UNEXPECTED, f"from {server}: late, repeated or never asked for")
            case RequestArrived() as arrived if not arrived.to_own_host or self._is_watched(packet.topic):
                self._offer(packet, arrived)
            case EventArrived() as arrived if self._is_watched(packet.topic):
                self._inbox.put(arrived.client, Entry(Kind.EVENT, arrived))

    def _offer(self, packet: Packet, arrived: RequestArrived) -> None:
        if arrived.client == self._client and f"/{EVERYBODY}/" in packet.topic:
            return  # our own broadcast
        gone = self._inbox.put(arrived.client, Entry(Kind.REQUEST, arrived))
        if isinstance(gone, RequestArrived):
            server = OWN_HOST if gone.to_own_host else server_name(self._client)
            topic, who = RequestTopic(server, gone.client, gone.verb), "your host" if gone.to_own_host else self._client
            self._refuse(
                Unserved(topic, gone.correlation, gone.request.request_id),
                ErrorCode.BUSY,
                f"{who} has too many requests waiting; ask again in a few seconds",
            )

    def _decoded(self, packet: Packet) -> Decoded | None:
        """Return what a packet says; what it cannot say is counted, and answered where an answer is due."""
        try:
            return decode(self._root, self._client, packet)
        except UndecodableError as error:
            self._counters.note(error.kind, error.detail)
            if error.answer_to is not None:
                self._refuse(error.answer_to, ErrorCode.BAD_REQUEST, f"{error.kind.value}: {error.detail}")
        except Exception as error:
            # Nothing that arrives may stop an agent. The type only: an exception's text may quote the payload.
            detail = f"{packet.topic[:160]!r}: {type(error).__name__}"
            self._counters.note(Drop.MALFORMED, detail)
        return None
