"""A real manager on the bus's real code before a cluster of any size, with only the network left out.

What arrives is handed to the bus as packets, what it sends is kept; lenders are not there but for their answers. So the
manager's own time can be told from everybody else's.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ramshare.agent import Runtime
from ramshare.bus.core import CoreBus
from ramshare.bus.publisher import Publisher
from ramshare.bus.wire import LinkUser, Packet
from ramshare.manager.agent import Manager
from ramshare.messages.base import Message
from ramshare.messages.names import target_of
from ramshare.messages.replies import BorrowReply, ErrorCode, ExportReply, Grant
from ramshare.messages.requests import BorrowMemory, ExportLease
from ramshare.messages.state import Export, LeasePhase, Mode, Offer, Status
from ramshare.topics import ReplyTopic, RequestTopic, Root, name

GIB = 1 << 30
LOAN_BYTES = 64 << 20
PORTAL = "10.0.0.1:3260"


class _Wire:
    """A link to nowhere: what is sent waits in `sent`."""

    def __init__(self) -> None:
        self.sent: deque[Packet] = deque()
        self._user: LinkUser | None = None

    def start(self, user: LinkUser, timeout_s: float) -> None:
        self._user = user
        user.on_up()

    def stop(self, farewell: Packet | None) -> None:
        pass

    def send(self, packet: Packet) -> None:
        self.sent.append(packet)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        assert self._user is not None
        self._user.on_subscribed(topic_filter, "")

    def unsubscribe(self, topic_filter: str) -> None:
        pass


def _right(_number: int) -> timedelta:
    return timedelta()


class ScaledManager:
    """A manager that serves `hosts` lenders of 1 GiB each, and counts its own seconds of CPU."""

    def __init__(self, hosts: int, capacity_bytes: int = GIB, clocks: Callable[[int], timedelta] = _right) -> None:
        """`clocks` is how far a host's clock is off, by its number."""
        self._wire, self._root = _Wire(), Root()
        self.lenders = {f"lender.h{n:05}": self._publisher(f"lender.h{n:05}", clocks(n)) for n in range(hosts)}
        self._capacity = dict.fromkeys(self.lenders, capacity_bytes)
        self.lent = dict.fromkeys(self.lenders, 0)
        self.exports_asked = 0
        self.now_s, self.busy_s = 1000.0, 0.0
        self.bus = CoreBus("manager", self._wire, clock=lambda: self.now_s)
        self.bus.connect()
        self.manager = Manager(self.bus, Runtime(clock=lambda: self.now_s, wall=lambda: self.now_s))
        self.manager.start()
        for lender in self.lenders:
            self._say_offer(lender)
            self._feed(self.lenders[lender].set_state("status", Status(status="online")))
        self.turn()
        for sent in self._taken():
            if "/lease/mark-" in sent.topic:  # as a broker sends it back, behind all that it has stored
                self._feed(sent)
        self.now_s += 1.0
        self.turn()
        self.began_s, self.busy_s = self.busy_s, 0.0
        """What it took to know everybody."""

    def turn(self) -> None:
        """Let the manager do all that is due; its time is counted."""
        self.manager.soon()
        since_s = time.thread_time()
        self.manager.turn()
        self.busy_s += time.thread_time() - since_s

    def heartbeat(self, number: int) -> None:
        """A lender says that it is there."""
        lender = list(self.lenders)[number % len(self.lenders)]
        self._feed(self.lenders[lender].set_state("status", Status(status="online")))
        self.turn()

    def borrow(self, number: int) -> BorrowReply:
        """Have one borrower ask for 64 MiB, its lender grant and show it, and return the manager's answer."""
        request_id = self.ask(f"borrower.b{number:05}")
        return self.serve()[request_id]

    def ask(self, client: str, size_bytes: int = LOAN_BYTES) -> str:
        """Have a borrower ask, nothing more; return the request's id."""
        need = BorrowMemory(volume="vg0/swap", size_bytes=size_bytes, mode=Mode.MIRROR, initiator=f"iqn.x:{client}")
        publisher = Publisher(client, self._root, 180)
        self._feed(publisher.message(RequestTopic("manager", client, need.VERB), need, b"c", 60))
        return need.request_id

    def serve(self) -> dict[str, BorrowReply]:
        """Let the manager and lenders work until nothing moves; return request id to the manager's answer."""
        answers: dict[str, BorrowReply] = {}
        idle = 0
        while idle < 2:
            self.turn()
            taken = self._taken()
            idle = 0 if taken else idle + 1
            for packet in taken:
                topic = self._root.parse(packet.topic)
                if isinstance(topic, RequestTopic) and topic.verb == "export":
                    self._export(topic.server, ExportLease.model_validate_json(packet.payload), packet.correlation)
                elif isinstance(topic, ReplyTopic):
                    reply = BorrowReply.model_validate_json(packet.payload)
                    answers[reply.request_id] = reply
        return answers

    def say(self, client: str, path: str, message: Message | None) -> None:
        """A lender says something."""
        self._feed(self.lenders[client].set_state(path, message))

    def shrink(self, lender: str, capacity_bytes: int) -> None:
        """A lender needs its memory: it offers less."""
        self._capacity[lender] = capacity_bytes
        self._say_offer(lender)

    def pledged(self) -> set[str]:
        """Return what the manager counts on for loans that are being made."""
        return self.manager._lending.held()

    def _publisher(self, client: str, off: timedelta) -> Publisher:
        return Publisher(client, self._root, 180, lambda: datetime.now(UTC) + off)

    def _export(self, lender: str, asked: ExportLease, correlation: bytes | None) -> None:
        """Grant what is there, as a lender does, and refuse what is not."""
        self.exports_asked += 1
        if self.lent[lender] + asked.size_bytes <= self._capacity[lender]:
            self._grant(lender, asked, correlation)
            return
        refusal = ExportReply(request_id=asked.request_id, error=ErrorCode.NO_CAPACITY, sentence="it is needed here")
        self._feed(self.lenders[lender].message(ReplyTopic("manager", lender), refusal, correlation))

    def _grant(self, lender: str, asked: ExportLease, correlation: bytes | None) -> None:
        host, at = name(lender), datetime.now(UTC)
        self.lent[lender] += asked.size_bytes
        export = Export(
            lease=asked.lease,
            host=host,
            borrower=asked.borrower,
            initiator=asked.initiator,
            target=target_of(host, asked.lease),
            portal=PORTAL,
            size_bytes=asked.size_bytes,
            mode=asked.mode,
            phase=LeasePhase.ATTACHED,
            connected=True,
            created_at=at,
            login_by=at + timedelta(seconds=60),
        )
        grant = Grant(
            lease=asked.lease,
            lender=lender,
            portal=PORTAL,
            target=export.target,
            size_bytes=asked.size_bytes,
            chap_user=asked.lease,
            sealed_secrets=f"secret-of-{asked.lease}",
        )
        reply = ExportReply(request_id=asked.request_id, grant=grant)
        self._feed(self.lenders[lender].set_state(f"export/{asked.lease}", export))
        self._say_offer(lender)
        self._feed(self.lenders[lender].message(ReplyTopic("manager", lender), reply, correlation))

    def _say_offer(self, lender: str) -> None:
        free = max(0, self._capacity[lender] - self.lent[lender])
        offer = Offer(
            host=name(lender),
            portal=PORTAL,
            capacity_bytes=max(self._capacity[lender], 0),
            lent_bytes=self.lent[lender],
            free_bytes=free,
            exportable=free > 0,
            reason="spare",
        )
        self._feed(self.lenders[lender].set_state("offer", offer))

    def _feed(self, packet: Packet) -> None:
        """As a broker delivers what was just published."""
        since_s = time.thread_time()
        self.bus.on_packet(Packet(packet.topic, packet.payload, packet.qos, False, packet.correlation))
        self.busy_s += time.thread_time() - since_s

    def _taken(self) -> list[Packet]:
        taken = list(self._wire.sent)
        self._wire.sent.clear()
        return taken
