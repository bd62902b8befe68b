"""What a client says: stamps its messages, remembers its state, and turns both into packets. No I/O, no lock."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from uuid import uuid4

from ramshare import __version__
from ramshare.bus.wire import Packet, Worth
from ramshare.errors import RamshareError
from ramshare.messages.base import MAX_PAYLOAD_BYTES, Message
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Request
from ramshare.messages.state import Status
from ramshare.topics import OWN_HOST, BadTopicError, ReplyTopic, Root, StateTopic, Topic, model_of, role

STATUS = "status"
ROLES_WITHOUT_STATUS = frozenset({"cli", "dashboard"})
"""People come and go: their status would only pile up on the broker."""
REMEMBERED_CLEARS = 1_000
"""Topics cleared in this run that are cleared again on reconnect: a broker that crashed may bring them back."""


class MessageTooLargeError(RamshareError):
    """A message of ours is larger than any receiver accepts."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Publisher:
    """Makes the packets of one client in one run (`instance`). The caller serialises the calls."""

    def __init__(self, client: str, root: Root, status_expiry_s: int, now: Callable[[], datetime] = _utc_now) -> None:
        self.client = client
        self.instance = uuid4().hex[:16]
        self._root = root
        self._status_expiry_s = status_expiry_s
        self._has_status = role(client) not in ROLES_WITHOUT_STATUS
        self._now = now
        self._seq = count(1)
        self.certificate_ends: datetime | None = None
        """Of the client's certificate; goes out with its status."""
        self._state: dict[str, Message] = {}
        self._cleared: OrderedDict[str, None] = OrderedDict()

    def message(
        self, topic: Topic, message: Message, correlation: bytes | None = None, expiry_s: int | None = None
    ) -> Packet:
        """Return a packet that is not retained. What a guest hears of its host does not count the host's messages."""
        to_guest = isinstance(topic, ReplyTopic) and topic.server == OWN_HOST
        payload = _encode(topic, message.stamped("", 0, self._now()) if to_guest else self._stamped(message))
        name = topic.render(self._root.name)
        return Packet(name, payload, correlation=correlation, expiry_s=expiry_s, worth=_worth(message))

    def set_state(self, path: str, message: Message | None) -> Packet:
        """Remember and return the new value of a state topic; None: cleared.

        Raises `BadTopicError` for a message that does not belong on that topic, `MessageTooLargeError`.
        """
        topic = StateTopic(self.client, path)
        if message is None:
            self._state.pop(path, None)
            self._cleared[path] = None
            self._cleared.move_to_end(path)
            if len(self._cleared) > REMEMBERED_CLEARS:
                self._cleared.popitem(last=False)
            return self._clearing(path)
        check(topic, message)
        stamped = self._stamped(message)
        packet = self._state_packet(path, stamped)
        self._cleared.pop(path, None)
        self._state[path] = stamped
        return packet

    def everything(self) -> list[Packet]:
        """Return every cleared topic and every state but `status` anew, with its old time."""
        packets = [self._clearing(path) for path in self._cleared]
        for path, old in self._state.items():
            if path != STATUS:
                self._state[path] = old.model_copy(update={"seq": next(self._seq)})
                packets.append(self._state_packet(path, self._state[path]))
        return packets

    def online(self) -> Packet | None:
        """Return `online` as of now; None before the client itself has said that it serves."""
        return self.status("online") if STATUS in self._state else None

    def status(self, status: str) -> Packet | None:
        """Return the status packet, None for a client that has no status."""
        if not self._has_status:
            return None
        known = self._state.get(STATUS)
        version = known.version if isinstance(known, Status) else __version__
        fields = {"status": status, "version": version, "certificate_ends": self.certificate_ends}
        message = Status.model_validate(fields)
        return self._state_packet(STATUS, self._stamped(message))

    def _stamped(self, message: Message) -> Message:
        return message.stamped(self.instance, next(self._seq), self._now())

    def _state_packet(self, path: str, message: Message) -> Packet:
        topic = StateTopic(self.client, path)
        # `online` of a client that died while the broker was down must not last; `offline` may.
        expires = isinstance(message, Status) and message.status == "online"
        expiry_s = self._status_expiry_s if expires else None
        name = topic.render(self._root.name)
        return Packet(name, _encode(topic, message), retain=True, expiry_s=expiry_s, worth=Worth.STATE)

    def _clearing(self, path: str) -> Packet:
        return Packet(StateTopic(self.client, path).render(self._root.name), b"", retain=True, worth=Worth.STATE)


def check(topic: Topic, message: Message) -> None:
    """Refuse, at the sender, what no receiver would accept. Raises `BadTopicError`."""
    model = model_of(topic)
    if not isinstance(message, model):
        raise BadTopicError(f"{topic.render()} carries {model.__name__}, not {type(message).__name__}")


def _worth(message: Message) -> Worth:
    """Return what a message that is not retained is worth when not all can go out."""
    match message:
        case Reply():
            return Worth.REPLY if message.ok else Worth.REFUSAL
        case Request():
            return Worth.REQUEST
    return Worth.EVENT


def _encode(topic: Topic, message: Message) -> bytes:
    payload = message.to_json()
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageTooLargeError(f"{topic.render()}: {len(payload)} bytes, the limit is {MAX_PAYLOAD_BYTES}")
    return payload
