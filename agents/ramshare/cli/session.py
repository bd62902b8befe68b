"""One connection of a command: collect what is retained, follow what changes, ask an agent. Used by every command."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from datetime import datetime

from ramshare.bus.api import Arrival, Bus, Connected, Disconnected, StateArrived
from ramshare.cli.account_lock import account_lock
from ramshare.cli.options import Options, utc_now
from ramshare.cli.output import UsageError
from ramshare.cli.snapshot import Snapshot
from ramshare.errors import ExitCode, RamshareError
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import Request
from ramshare.messages.state import Export, Lease, Status, Volume
from ramshare.topics import MANAGER, mark_path

CONNECT_S = 4.0
"""A broker on the same network answers in milliseconds; a person should not wait long to hear that there is none."""
COLLECT_S = 10.0
"""Longest wait for the retained topics. 5,000 of them take about a second (9 k/s at QoS 1, measured)."""
ASK_S = 60.0
"""Longest wait for an answer: a borrower looks at its volumes, then asks the manager, who asks lenders (15 s)."""
POLL_S = 0.25
LARGE_HOSTS = 1_000
"""With more lenders a person is not made to wait for all that is retained: 9,000 topics a second can be read, and ten
thousand hosts with ten guests each have over 200,000."""
NAMED = 5
TAKEN_OVER = "another client connected"
"""What the bus says when the broker ended a session for a second one of the same name."""


class AwayError(RamshareError):
    """The agent that a command needs is not there."""


class RequestRefusedError(RamshareError):
    """An agent answered no; `code` is one of the closed list in `messages/replies.py`."""

    exit_code = ExitCode.REFUSED

    def __init__(self, code: ErrorCode, sentence: str, hint: str = "") -> None:
        super().__init__(sentence or code.value, hint)
        self.code = code


class UnknownNameError(RamshareError):
    """No agent or host of that name has ever spoken."""

    exit_code = ExitCode.REFUSED
    code = "unknown-name"


HINTS = {
    ErrorCode.NO_CAPACITY: "ramshare status shows what every host can lend, and why not more",
    ErrorCode.NOT_READY: "wait a few seconds and ask again",
    ErrorCode.BUSY: "ask again in a few seconds",
    ErrorCode.NOT_SWAP: "lsblk --fs on that host shows what its volumes hold",
    ErrorCode.UNKNOWN_VOLUME: "lvs on that host lists the volumes; --host names another host",
    ErrorCode.NOT_ALLOWED: "only an account named cli.<user> may ask for this",
}


@contextmanager
def connected(options: Options) -> Iterator["Session"]:
    """Connect to the broker and disconnect at the end.

    Raises `BrokerUnreachableError`, `NotAuthorisedError`, `AccountInUseError`, `SettingsError`.
    """
    outside = options.outside
    with account_lock(options.accounts(), outside.clock, outside.sleep) as settings:
        assert settings.client is not None
        if settings.broker_insecure:
            _ = settings.password  # a file that cannot be read is told before the broker is looked for
        bus = outside.open_bus(settings, settings.client)
        try:
            bus.connect(CONNECT_S)
            yield Session(bus, settings.broker, outside.clock, outside.wall)
        finally:
            bus.close()


class Session:
    """A connected bus and the snapshot that is kept from it."""

    def __init__(
        self, bus: Bus, broker: str, clock: Callable[[], float] = time.monotonic, wall: Callable[[], datetime] = utc_now
    ) -> None:
        self.bus = bus
        self.broker = broker
        self.clock = clock
        self.wall = wall
        self.snapshot = Snapshot()
        self.connected = True
        self._marks = 0

    def watch(self) -> None:
        """Have every state topic kept in the snapshot, and the end of what is stored marked."""
        self.bus.watch_state()
        self._mark()

    def collect(self, timeout_s: float = COLLECT_S) -> Snapshot:
        """Watch everything and return what is retained; not `settled` if the broker fell silent before the end."""
        self.watch()
        return self._settled(timeout_s)

    def look(self, host: str | None = None, timeout_s: float = COLLECT_S) -> Snapshot:
        """Watch what a person looks at: everything, but of a large cluster only totals and volumes, or one host.

        Of a host that is its own agents' state, and what others say of its leases.
        """
        self._watch_too((("+", "summary"), (self.bus.client, "#")), timeout_s)
        told = self.snapshot.manager()
        if told is None or told.lenders <= LARGE_HOSTS:
            self.bus.unwatch_state("+", "summary")
            self.bus.unwatch_state(self.bus.client, "#")
            return self.collect(timeout_s)
        self.snapshot.narrow = True
        managers = [(client, "status") for client in self.snapshot.clients(MANAGER)]
        if host is None:
            self._watch_too((*managers, ("+", "volume/+/+")), timeout_s)
            who = sorted({fact.client for fact, _ in self.snapshot.of_kind(Volume)})
            return self._watch_too([(client, "status") for client in who], timeout_s)
        if set(host) & set("+#/"):  # nobody has such a name, and as a topic it would mean others
            return self._watch_too(managers, timeout_s)
        own = [(f"{role}.{host}", "#") for role in ("lender", "borrower", "guest")]
        self._watch_too((*managers, *own, ("+", f"host/{host}")), timeout_s)
        lent = {export.lease for _, export in self.snapshot.of_kind(Export)}
        leases = sorted(lent | {lease.lease for _, lease in self.snapshot.of_kind(Lease)})
        self._watch_too([("+", f"{kind}/{lease}") for lease in leases for kind in ("lease", "export")], timeout_s)
        peers = [c for c in self.snapshot.clients() if self.snapshot.get(c, "status", Status) is None]
        return self._watch_too([(client, "status") for client in peers], timeout_s)

    def _watch_too(self, what: Sequence[tuple[str, str]], timeout_s: float) -> Snapshot:
        """Watch these (client, path) as well, and return what is known when all that is stored of them has come."""
        if what:
            for client, path in what:
                self.bus.watch_state(client, path)
            self.snapshot.expect_more()
            self._set_mark()
        return self._settled(timeout_s)

    def _settled(self, timeout_s: float) -> Snapshot:
        """Wait for the mark as long as stored topics come, at most `timeout_s` for the next one."""
        deadline = self.clock() + timeout_s
        while not self.snapshot.settled and self.clock() < deadline:
            arrival = self.next(POLL_S)
            if isinstance(arrival, StateArrived) and arrival.retained:
                deadline = self.clock() + timeout_s
        return self.snapshot

    def _mark(self) -> None:
        """Publish the mark that ends what is stored.

        The broker sends stored topics before what is published after the subscription, so clearing a topic of our own
        (a command has none, nothing changes) comes back last. What was not sent until then is no more. Each connection
        has a mark of its own, as the bus clears all earlier ones again before it subscribes.
        """
        self.snapshot.doubt()
        self._set_mark()

    def _set_mark(self) -> None:
        self._marks += 1
        self.bus.set_state(mark_path(self._marks), None)

    def _keep(self, arrived: StateArrived) -> None:
        if (arrived.client, arrived.path) == (self.bus.client, mark_path(self._marks)):
            self.snapshot.settle()
        else:
            self.snapshot.hear(arrived, self.wall())

    def next(self, timeout_s: float) -> Arrival | None:
        """Return what arrived next, after keeping it in the snapshot.

        Raises `AwayError` when another command took this one's account over: the broker holds one connection for each.
        """
        arrival = self.bus.next(timeout_s)
        match arrival:
            case StateArrived():
                self._keep(arrival)
            case Disconnected(reason):
                self.connected = False
                if TAKEN_OVER in reason:
                    raise AwayError(
                        f"another command connected as {self.bus.client}; an account holds one connection",
                        "give the second command an account of its own: ramshare --client cli.NAME ...",
                    )
            case Connected():
                if not self.connected:
                    self._mark()  # an earlier one was lost with the old connection
                self.connected = True
        return arrival

    def ask(self, server: str, request: Request, timeout_s: float = ASK_S) -> Reply:
        """Send a request and return the granting reply.

        Raises `RequestRefusedError`, or `RequestTimeoutError` if nobody answers.
        """
        future: Future[Reply] = self.bus.ask(server, request, timeout_s)
        while True:
            try:
                reply = future.result(timeout=POLL_S)  # in slices, so that Ctrl-C is heard
                break
            except FutureTimeoutError:
                if future.done():
                    raise
        if reply.error is not None:
            raise RequestRefusedError(reply.error, reply.sentence, HINTS.get(reply.error, ""))
        return reply

    def require(self, role: str, host: str) -> str:
        """Return the client name of a host's agent if it is online. Raises `AwayError` or `UnknownNameError`."""
        client = f"{role}.{host}"
        if self.snapshot.online(client):
            return client
        start = f"start it there: systemctl start ramshare-{role}, or ramshare run {role}"
        there = [c.partition(".")[2] for c in self.snapshot.clients(role) if self.snapshot.online(c)]
        others = f"; online: {named(there)}" if there else f"; no {role} is online"
        if self.snapshot.narrow:
            others = ""
        if client in self.snapshot.clients(role):
            raise AwayError(f"the {role} of {host} is offline", start)
        raise UnknownNameError(f"no {role} is known on host {host!r}{others}", start)


def named(names: Sequence[str]) -> str:
    """Return the first few names, and how many there are besides."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def require_host(host: str) -> str:
    """Return a host name that can be part of a topic. Raises `UsageError`."""
    if not host or len(host) > 63 or not host[0].isalnum() or not all(c.isalnum() or c in "_-" for c in host):
        raise UsageError(f"{host[:80]!r} is not a host name", "use its short name, as ramshare status shows it")
    if not host.isascii():
        raise UsageError(f"{host[:80]!r} is not a host name", "use plain letters, digits, - and _")
    return host
