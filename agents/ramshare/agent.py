"""What every agent has in common: one event loop, signals, requests answered once, a heartbeat, an orderly end.

An agent says what to do when something arrives (`on_state`, `handle`) and when time passes (`tick`). All of it runs
on one thread, the loop's. The contract of threads:

- What the loop calls starts no process, reads and writes no file, and asks no daemon: that is for the worker thread
  (`work`), which does one job after the other and reports back to the loop. A job touches nothing that the loop owns.
- Exceptions are files that the kernel makes up, for which no disk is waited for: a sample of `/proc` (lender and
  monitor; the monitor also asks the kernel to drop pages of its own), and looks at sysfs and `/proc` (borrower).
- `begin` and `end` run before and after the loop, on its thread. They may open and close what gives early warnings
  (PSI, the hypervisor's events), and `end` may write what was learnt; neither waits for anybody.
- Other threads (the bus's, the hypervisor's, that of early warnings) only `post`.
"""

import logging
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import ClassVar, TypeVar, cast
from zlib import crc32

from ramshare import __version__
from ramshare.bus.api import Bus, Connected, Disconnected, EventArrived, RequestArrived, StateArrived
from ramshare.desk import Desk, RefusedError
from ramshare.errors import RamshareError
from ramshare.linux.service_manager import ServiceManager
from ramshare.loop import say
from ramshare.messages.events import EventKind
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import Announce, Confirm, Request
from ramshare.messages.state import Status
from ramshare.topics import ALLOWED, EVERYBODY, OWN_HOST, role

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R", bound=Request)
Handler = Callable[[RequestArrived[R]], Reply | None]
"""Serves a request: returns the answer, raises, or returns None and settles it at the desk later."""

ARRIVALS_S = 1.0
"""How long what arrives may keep the loop from its own work. A snapshot of ten thousand topics takes less, a flood is
cut to this; each sender has its turn in either."""
RETRY_TICK_S = 1.0
"""After a tick that failed."""


def _one_thread(name: str) -> Executor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)


@dataclass(frozen=True)
class Runtime:
    """What an agent runs on: its clocks and its worker. Tests give their own."""

    clock: Callable[[], float] = time.monotonic
    """Seconds that never go back."""
    wall: Callable[[], float] = time.time
    """Seconds since 1970, as others write them into their messages."""
    worker: Callable[[str], Executor] = _one_thread
    """Makes a thread of a name that runs jobs, one after the other."""


REAL = Runtime()


class Agent(ABC):
    """Base of the four agents. Subclasses say in `begin` what they serve (`handle`) and implement `tick`."""

    heartbeat_s = 60.0
    sweeps: ClassVar[bool] = False
    """Whether retained state that an earlier run left behind is cleared; see `true_paths`."""

    def __init__(self, bus: Bus, runtime: Runtime = REAL) -> None:
        self.bus = bus
        self.clock = runtime.clock
        self._handlers: dict[type[Request], Handler[Request]] = {}
        self.handle(Confirm, self._confirm)
        self.service_manager = ServiceManager()
        """Who wants to hear that the agent serves and that its loop turns; nobody unless `launch` says so."""
        self.desk = Desk(self._answer)
        self._posted: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._worker = runtime.worker("worker")
        self._first_jobs: deque[Callable[[], None]] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._next_tick_s = 0.0
        self._next_heartbeat_s = 0.0
        self._announce_at_s = float("inf")
        self._inherited: set[str] = set()

    @abstractmethod
    def begin(self) -> None:
        """Subscribe and publish what is true at the start."""

    @abstractmethod
    def tick(self) -> float:
        """Do what is due; return after how many seconds to be called again."""

    def true_paths(self) -> Collection[str] | None:
        """Return which state paths of ours are true now, or None while that is not known yet.

        With `sweeps`, what the broker still has besides (an earlier run died before it could clear it) is cleared.
        """
        return None

    def on_state(self, arrived: StateArrived) -> None:  # noqa: B027 (optional)
        """Take note of somebody else's retained topic; by default nothing is watched."""

    def on_own_state(self, arrived: StateArrived) -> None:  # noqa: B027 (optional)
        """Take note of what the broker has of this agent itself; with `sweeps` what an earlier run left is cleared."""

    def on_event(self, arrived: EventArrived) -> None:  # noqa: B027 (optional)
        """Take note of an event; by default nothing is watched."""

    def on_connected(self) -> None:  # noqa: B027 (optional)
        """The session is up again; the bus has already published every state."""

    def end(self) -> None:  # noqa: B027 (optional)
        """Stop own helpers; what runs for others (exports, volumes) stays."""

    def handle(self, kind: type[R], handler: Handler[R]) -> None:
        """Have requests of one class served by `handler`."""
        self._handlers[kind] = cast("Handler[Request]", handler)

    def say(self, kind: EventKind, sentence: str, **about: object) -> None:
        """Log a sentence and publish it as an event."""
        say(self.bus, kind, sentence, **about)

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` run on the loop; safe from any thread."""
        self._posted.append(call)
        self._wake.set()

    def work(self, job: Callable[[], T], done: Callable[[T | Exception], None], *, first: bool = False) -> None:
        """Run `job` on the worker thread, then `done` with its result or exception on the loop.

        One that is to be `first` goes before all that wait without being so. While a request is served, `done` belongs
        to it: if `done` raises, the request is refused.
        """
        done = self.desk.follow_up(done)
        ended: Future[T] = Future()
        ended.add_done_callback(lambda ended: self._report(ended, done))
        (self._first_jobs if first else self._jobs).append(lambda: _run(job, ended))
        self._worker.submit(self._next_job)

    def ask(self, server: str, request: Request, timeout_s: float, done: Callable[[Reply | Exception], None]) -> None:
        """Send a request and run `done` with the reply, or the exception, on the loop; see `work`. Raises nothing."""
        done = self.desk.follow_up(done)
        try:
            future = self.bus.ask(server, request, timeout_s)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda ended: self._report(ended, done))

    def ask_self(self, request: Request, done: Callable[[Reply], None], client: str = "") -> None:
        """Have a request of this agent's own, or `client`'s, served as anybody's is, and `done` called with the answer.

        It goes past the broker, for which it is nobody's business, and so works without one.
        """
        arrived = RequestArrived(client or self.bus.client, request.VERB, request, b"")
        if self.desk.admit(arrived):
            self.desk.when_answered(arrived, done)
            self._serve_with(self._handlers[type(request)], arrived)

    def soon(self) -> None:
        """Have `tick` called at the next turn of the loop."""
        self._next_tick_s = 0.0
        self._wake.set()

    def stop(self) -> None:
        """End the loop; safe from any thread and from a signal handler."""
        self._stopping.set()
        self._wake.set()

    def start(self) -> None:
        """Begin; the bus must be connected."""
        self.bus.on_online(lambda: self.post(self._served))
        if self.sweeps:
            self.bus.watch_state(self.bus.client)
        self.begin()

    def run(self) -> None:
        """Serve until `stop`. The bus must be connected. An agent that cannot even begin raises why and ends."""
        self.bus.on_arrival(self._wake.set)
        try:
            self.start()
            while not self._stopping.is_set():
                self._wake.wait(self.nap_s())
                self._wake.clear()
                self.turn()
        finally:
            self.service_manager.stopping()
            self._guarded(self.end)
            self._worker.shutdown(wait=False, cancel_futures=True)

    def turn(self) -> None:
        """One turn of the loop: everything that arrived or was posted, then the tick if it is due.

        What arrived comes first: a reply is posted after the state that its sender published before it. Only a flood,
        which would keep the loop from all else, is cut short.
        """
        until_s = self.clock() + ARRIVALS_S
        while (arrival := self.bus.next(0.0)) is not None:
            self._guarded(partial(self._dispatch, arrival))
            if self.clock() >= until_s:
                self._wake.set()  # there may be more: the next turn comes at once
                break
        while self._posted:
            self._guarded(self._posted.popleft())
        if self.clock() >= self._next_heartbeat_s:
            self._next_heartbeat_s = self.clock() + self.heartbeat_s
            self._guarded(self._heartbeat)
        if self.clock() >= self._announce_at_s:
            self._announce_at_s = float("inf")
            self._guarded(self.bus.republish)
        if self.clock() >= self._next_tick_s:
            self._next_tick_s = self.clock() + RETRY_TICK_S
            self._guarded(self._tick)
        self.service_manager.alive(self.clock())

    def nap_s(self) -> float:
        """Return how long the loop may wait now if nothing arrives."""
        due_s = min(self._next_tick_s, self._next_heartbeat_s, self._announce_at_s) - self.clock()
        return max(0.0, min(due_s, self.service_manager.alive_every_s))

    def _served(self) -> None:
        self.service_manager.ready()
        self.service_manager.status("online: requests are heard")

    def _next_job(self) -> None:
        """On the worker, once for each job that waits: run the one whose turn it is."""
        (self._first_jobs or self._jobs).popleft()()

    def _heartbeat(self) -> None:
        self.bus.set_state("status", Status(status="online", version=__version__))

    def _tick(self) -> None:
        after_s = self.tick()
        self._sweep()
        if self._next_tick_s > 0.0:  # not if the tick itself asked for another one soon
            self._next_tick_s = self.clock() + after_s

    def _sweep(self) -> None:
        true = self.true_paths() if self._inherited else None
        if true is None:
            return
        for path in self._inherited - {"status", *true}:
            self.bus.set_state(path, None)
        self._inherited.clear()

    def _dispatch(self, arrival: object) -> None:
        match arrival:
            case StateArrived() if arrival.client == self.bus.client:
                if arrival.retained and arrival.message is not None:
                    self._inherited.add(arrival.path)
                self.on_own_state(arrival)
            case StateArrived():
                self.on_state(arrival)
            case EventArrived():
                self.on_event(arrival)
            case RequestArrived():
                self._serve(arrival)
            case Connected():
                log.info("connected to the broker")
                self.on_connected()
            case Disconnected(reason):
                log.warning("disconnected from the broker: %s", reason)
                self.service_manager.status(f"disconnected from the broker: {reason}; trying again")

    def _serve(self, arrived: RequestArrived) -> None:
        if isinstance(arrived.request, Announce):
            if role(arrived.client) in ALLOWED[(EVERYBODY, Announce.VERB)]:
                self._announce_at_s = self.clock() + arrived.request.within_s * moment_of(self.bus.client)
            return
        if self.desk.admit(arrived):
            self._serve_with(lambda arrived: self._handler(arrived)(arrived), arrived)

    def _serve_with(self, handler: Handler[Request], arrived: RequestArrived) -> None:
        with self.desk.serving(arrived):
            reply = handler(arrived)
            if reply is not None:
                self.desk.settle(arrived, reply)

    def _answer(self, arrived: RequestArrived, reply: Reply) -> None:
        if arrived.correlation:
            self.bus.answer(arrived, reply)

    def _confirm(self, arrived: RequestArrived[Confirm]) -> Reply:
        self.bus.republish()
        return Reply(request_id=arrived.request.request_id)

    def _handler(self, arrived: RequestArrived) -> Handler[Request]:
        served = OWN_HOST if arrived.to_own_host else role(self.bus.client)
        allowed = ALLOWED.get((served, arrived.verb), frozenset())
        if role(arrived.client) not in allowed:
            raise RefusedError(ErrorCode.NOT_ALLOWED, f"{arrived.client} may not ask for {arrived.verb} here")
        handler = self._handlers.get(type(arrived.request))
        if handler is None:
            raise RefusedError(ErrorCode.BAD_REQUEST, f"{self.bus.client} does not serve {arrived.verb}")
        return handler

    def _report(self, ended: "Future[T]", done: Callable[[T | Exception], None]) -> None:
        if ended.cancelled():
            return
        error = ended.exception()
        if error is None:
            result: T | Exception = ended.result()
        else:
            result = error if isinstance(error, Exception) else RamshareError(repr(error))
        self.post(lambda: done(result))

    def _guarded(self, call: Callable[[], None]) -> None:
        """Run a call; whatever it raises is logged and the agent goes on: nothing that arrives may stop it."""
        try:
            call()
        except Exception:
            log.exception("%s goes on after an error", self.bus.client)


def moment_of(client: str) -> float:
    """Return a number from 0 to 1 that is a client's own: what all are to do, they do not do at once."""
    return crc32(client.encode()) / (1 << 32)


def _run(job: Callable[[], T], ended: "Future[T]") -> None:
    """Run a job and end its future with what came of it."""
    try:
        result = job()
    except BaseException as error:
        ended.set_exception(error)
    else:
        ended.set_result(result)


def serve(agent: Agent, connect_timeout_s: float = 10.0) -> None:
    """Connect, run the agent until SIGTERM or SIGINT, publish `offline` and disconnect."""

    def ended(_signal: int, _frame: FrameType | None) -> None:
        agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ended)
    agent.bus.connect(connect_timeout_s)
    try:
        agent.run()
    finally:
        agent.bus.close()
