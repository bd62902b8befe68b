"""A cluster inside one process: agents on the in-memory broker, turned by hand, on the test's own clock.

`World.settle` lets every agent take turns until nobody has anything to do; `World.advance` lets time pass in steps
small enough that no tick is skipped. Threads of workers are replaced by running their jobs at once.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from kit.memory_bus import MemoryBroker, MemoryBus, memory_bus
from ramshare.agent import Agent, Runtime
from ramshare.bus.api import Arrival, Bus, RequestArrived
from ramshare.desk import RefusedError
from ramshare.generation import Generation
from ramshare.lender.fence import Fence
from ramshare.messages.base import Message
from ramshare.messages.replies import BorrowReply, ErrorCode, ExportReply, Grant, Reply
from ramshare.messages.requests import BorrowMemory, ExportLease, ReleaseLease
from ramshare.messages.state import Export, Lease, LeasePhase, Mode, Offer, is_committed
from ramshare.topics import MANAGER, Root, StateTopic, model_of, name, role

T = TypeVar("T")
MIB = 1 << 20
STEP_S = 0.25
READY_S = 1.0
"""A manager that has started serves by then: it has heard all that the broker has stored."""
MOST_TURNS = 200
"""More turns than any honest exchange takes: beyond it two agents are shouting at each other."""


class World:
    """A broker, the agents on it, and the time."""

    step_s = STEP_S

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.agents: dict[str, Agent] = {}
        self.began_s = time.time() - self.broker.now_s
        self.worker = HandWorker()
        self.runtime = Runtime(clock=self.clock, wall=self.wall, worker=lambda _name: self.worker)
        self.errors = _Errors()
        logging.getLogger("ramshare").addHandler(self.errors)

    def clock(self) -> float:
        return self.broker.now_s

    def wall(self) -> float:
        return self.began_s + self.broker.now_s

    def bus(self, client: str) -> MemoryBus:
        return memory_bus(self.broker, client)

    def agents_bus(self, client: str) -> MemoryBus:
        """Return a bus for an agent, not connected yet."""
        return MemoryBus(self.broker, client)

    def start(self, make: Callable[[MemoryBus, Runtime], Agent], client: str) -> Agent:
        """Connect and begin an agent, as `agent.serve` does; a second one of this name takes the first one's place."""
        bus = self.agents_bus(client)
        bus.connect()
        agent = make(bus, self.runtime)
        agent.start()
        self.agents[client] = agent
        return agent

    def kill(self, client: str) -> None:
        """End an agent without a word."""
        del self.agents[client]
        self.broker.crash(client)

    def settle(self) -> None:
        """Let everybody take turns until nothing is published any more."""
        for _ in range(MOST_TURNS):
            before = len(self.broker.published)
            for agent in list(self.agents.values()):
                agent.turn()
            if len(self.broker.published) == before and not any(agent._posted for agent in self.agents.values()):
                return
        raise AssertionError(f"no end to the talk: {[p.topic for _, p in self.broker.published[-10:]]}")

    def advance(self, seconds: float) -> None:
        """Let time pass, with turns in between."""
        until = self.broker.now_s + seconds
        while self.broker.now_s < until:
            self.broker.advance(min(self.step_s, until - self.broker.now_s))
            self.settle()

    def state(self, client: str, path: str) -> Message | None:
        """Return a retained message, as anyone would read it."""
        payload = self.broker.retained().get(StateTopic(client, path).render())
        return None if payload is None else model_of(StateTopic(client, path)).model_validate_json(payload)

    def states(self, client: str, prefix: str) -> dict[str, Message]:
        """Return a client's retained messages whose path begins with `prefix`."""
        root = StateTopic(client, "x").render().removesuffix("x")
        paths = [topic.removeprefix(root) for topic in self.broker.retained() if topic.startswith(root + prefix)]
        return {path: message for path in paths if (message := self.state(client, path)) is not None}

    def events(self, kind: str) -> list[str]:
        """Return the topics of every event of one kind so far."""
        return [p.topic for _, p in self.broker.published if "/event/" in p.topic and p.topic.endswith(f"/{kind}")]

    def close(self) -> None:
        """Stop listening for errors."""
        logging.getLogger("ramshare").removeHandler(self.errors)


class _Errors(logging.Handler):
    """Collects what agents log as an exception: an agent goes on after one, a test must not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.seen.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


class HandWorker(Executor):
    """A worker without a thread: a job runs when it is given, its outcome is posted to the loop as always.

    After `hold` jobs wait until `go_on`, as behind one that takes long.
    """

    def __init__(self) -> None:
        self._held: list[Callable[[], None]] | None = None
        self.at_work = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        future: Future[T] = Future()

        def run() -> None:
            self.at_work = True
            try:
                outcome: T | Exception = fn(*args, **kwargs)
            except Exception as error:
                outcome = error
            self.at_work = False
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        if self._held is None:
            run()
        else:
            self._held.append(run)
        return future

    def hold(self) -> None:
        self._held = []

    def go_on(self) -> None:
        held, self._held = self._held or [], None
        for run in held:
            run()


class FakeLender(Agent):
    """A lender without any memory: offers, grants, refuses or keeps silent as the test says; lends no byte twice."""

    def __init__(self, bus: Bus, runtime: Runtime, capacity_bytes: int, committed_bytes: int = 0) -> None:
        super().__init__(bus, runtime)
        self.capacity_bytes = capacity_bytes
        self.committed_bytes = committed_bytes
        self.exports: dict[str, Export] = {}
        self.fence = Fence()
        self._offer: Offer | None = None
        self.refuses = False
        self.silent = False
        self.answers_late: list[Callable[[], None]] | None = None
        self.tells_offers = True
        self.asked: list[ExportLease] = []
        self.released: list[str] = []

    def begin(self) -> None:
        self.handle(ExportLease, self._export)
        self.handle(ReleaseLease, self._release)
        for export in self.exports.values():
            self.bus.set_state(f"export/{export.lease}", export)
        self.offer()

    def tick(self) -> float:
        return 60.0

    def lent_bytes(self, committed: bool = False) -> int:
        return sum(e.size_bytes for e in self.exports.values() if not committed or is_committed(e.mode, e.leg))

    def offer(self) -> None:
        free = self.capacity_bytes - self.lent_bytes()
        committed_free = min(free, self.committed_bytes - self.lent_bytes(committed=True))
        self._offer = Offer(
            host=name(self.bus.client),
            portal="10.0.0.1:3260",
            capacity_bytes=self.capacity_bytes,
            lent_bytes=self.lent_bytes(),
            free_bytes=max(0, free),
            committed_bytes=self.committed_bytes,
            committed_free_bytes=max(0, committed_free),
            exportable=free > 0,
            generation=self.fence.newest.number,
            obeys=self.fence.newest.manager or None,
            reason="spare",
        )
        self.bus.set_state("offer", self._offer)

    def connected(self, lease: str, phase: LeasePhase = LeasePhase.ATTACHED) -> None:
        """Pretend that the borrower logged in."""
        self.exports[lease] = self.exports[lease].model_copy(update={"connected": True, "phase": phase})
        self.bus.set_state(f"export/{lease}", self.exports[lease])

    def _export(self, arrived: RequestArrived[ExportLease]) -> Reply | None:
        request = arrived.request
        if self.fence.admit(Generation(request.generation, arrived.client)) and self._offer is not None:
            obeyed = {"generation": request.generation, "obeys": arrived.client}
            self.bus.set_state("offer", self._offer.model_copy(update=obeyed))
        self.asked.append(request)
        if self.silent:
            return None
        if self.refuses:
            raise RefusedError(ErrorCode.FAILED, "the RAM file system is full")
        if request.lease not in self.exports:
            self._check_room(request)
            self._make(request, arrived.client)
        reply = ExportReply(request_id=request.request_id, grant=self._grant(request.lease))
        if self.answers_late is not None:
            self.answers_late.append(lambda: self.desk.settle(arrived, reply))
            return None
        return reply

    def _check_room(self, request: ExportLease) -> None:
        free = self.capacity_bytes - self.lent_bytes()
        if is_committed(request.mode, request.leg):
            free = min(free, self.committed_bytes - self.lent_bytes(committed=True))
        if request.size_bytes > free:
            raise RefusedError(ErrorCode.NO_CAPACITY, f"{free >> 20} MiB left")

    def _make(self, request: ExportLease, manager: str) -> None:
        at = datetime.now(UTC)
        self.exports[request.lease] = Export(
            lease=request.lease,
            host=name(self.bus.client),
            borrower=request.borrower,
            initiator=request.initiator,
            target=f"iqn.2026-11.io.ramshare:{name(self.bus.client)}.{request.lease}",
            portal="10.0.0.1:3260",
            size_bytes=request.size_bytes,
            mode=request.mode,
            leg=request.leg,
            phase=LeasePhase.EXPORTED,
            connected=False,
            created_at=at,
            login_by=at + timedelta(seconds=request.login_within_s),
        )
        self.bus.set_state(f"export/{request.lease}", self.exports[request.lease])
        if self.tells_offers:
            self.offer()

    def _grant(self, lease: str) -> Grant:
        export = self.exports[lease]
        return Grant(
            lease=lease,
            lender=self.bus.client,
            portal=export.portal,
            target=export.target,
            size_bytes=export.size_bytes,
            leg=export.leg,
            chap_user=lease,
            sealed_secrets=f"secret-of-{lease}",
        )

    def _release(self, arrived: RequestArrived[ReleaseLease]) -> Reply | None:
        request = arrived.request
        if self.silent:
            return None
        if role(arrived.client) == MANAGER:
            self.fence.admit(Generation(request.generation, arrived.client))
        if request.lease not in self.exports:
            raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no lease {request.lease} here")
        if self.exports[request.lease].connected:
            raise RefusedError(ErrorCode.IN_USE, "log out first")
        del self.exports[request.lease]
        self.released.append(request.lease)
        self.bus.set_state(f"export/{request.lease}", None)
        self.offer()
        return Reply(request_id=request.request_id)


class FakeBorrower:
    """Asks the manager for memory and keeps the answers."""

    def __init__(self, world: World, host: str) -> None:
        self.world = world
        self.client = f"borrower.{host}"
        self.bus = world.bus(self.client)

    def ask(self, size_bytes: int, **changes: Any) -> "Future[Reply]":
        """Send a borrow request; the future holds the reply once the world has settled."""
        fields: dict[str, Any] = {"volume": "vg0/swap", "mode": Mode.MIRROR, "initiator": "iqn.2026-11.test:b"}
        return self.bus.ask("manager", BorrowMemory(size_bytes=size_bytes, **{**fields, **changes}), 600.0)

    def borrow(self, size_bytes: int, **changes: Any) -> BorrowReply:
        """Ask, let the world settle, and return the reply."""
        future = self.ask(size_bytes, **changes)
        self.world.settle()
        return reply_of(future)

    def uses(self, lease: str, lender: str) -> None:
        """Publish a lease, as a borrower does from the grant on."""
        message = Lease(
            lease=lease, lender=lender, volume="vg0/swap", size_bytes=1, mode=Mode.MIRROR, phase=LeasePhase.ATTACHED
        )
        self.bus.set_state(f"lease/{lease}", message)


def reply_of(future: "Future[Reply]") -> BorrowReply:
    """Return the reply that must have come by now."""
    assert future.done(), "no reply yet"
    reply = future.result()
    assert isinstance(reply, BorrowReply)
    return reply


def drain(bus: MemoryBus) -> list[Arrival]:
    """Return and forget what arrived at a bus that no agent serves."""
    return bus.arrivals()


__all__ = ["MIB", "FakeBorrower", "FakeLender", "Root", "World", "drain", "reply_of"]
