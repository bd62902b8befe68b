"""The lab's operator: asks a borrower through the bus as a person's `ramshare borrow` would, and follows the volume."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ramshare.bus.api import Bus, EventArrived
from ramshare.cli.session import Session
from ramshare.cli.snapshot import Snapshot
from ramshare.errors import RamshareError
from ramshare.messages.events import Event
from ramshare.messages.replies import AttachReply, Reply
from ramshare.messages.requests import BorrowVolume, Request, ReturnVolume
from ramshare.messages.state import Export, Lease, Mode, Offer, Volume, VolumePhase
from ramshare.topics import volume_path

ASK_S = 60.0
"""A borrower under emulation takes some seconds to look at its volumes before it answers."""


class OperatorError(RamshareError):
    """A request was refused, or did not get where it should in time."""


class Operator:
    """A connected client of the lab: a command's session, and the events it heard."""

    def __init__(
        self, bus: Bus, borrower: str, on_event: Callable[[Event, str], None] = lambda _event, _who: None
    ) -> None:
        self.bus = bus
        self.borrower = borrower
        self._session = Session(bus, "the lab's broker")
        self.events: list[tuple[float, str, Event]] = []
        """Monotonic time, client and event."""
        self._on_event = on_event

    def __enter__(self) -> Self:
        self.bus.connect()
        self._session.watch()
        self.bus.watch_events()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.bus.close()

    @property
    def retained(self) -> Snapshot:
        """Everything that is retained now."""
        return self._session.snapshot

    def listen(self, seconds: float) -> None:
        """Take in what arrives for so long."""
        self.until(lambda: False, seconds)

    def until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Take in what arrives until `reached`; return whether it was."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._take(min(left, 0.25))
        return True

    def volume(self, volume: str) -> Volume | None:
        """Return what the borrower says of a volume."""
        return self.retained.get(self.borrower, volume_path(volume), Volume)

    def leases(self) -> list[Lease]:
        """Return the borrower's leases."""
        return self.leases_of(self.borrower)

    def leases_of(self, borrower: str) -> list[Lease]:
        """Return the leases of any borrower."""
        return [lease for fact, lease in self.retained.of_kind(Lease) if fact.client == borrower]

    def exports(self, lender: str = "") -> list[Export]:
        """Return everybody's exports, or one lender's."""
        return [export for fact, export in self.retained.of_kind(Export) if lender in ("", fact.client)]

    def offer(self, lender: str) -> Offer | None:
        """Return a lender's offer."""
        return self.retained.get(lender, "offer", Offer)

    def wait_ready(self, lendable_bytes: int, timeout_s: float = 120.0) -> None:
        """Wait until the manager serves, the borrower is online, and so much can be lent. Raises `OperatorError`."""

        def ready() -> bool:
            summary = self.retained.manager()
            known = summary is not None and summary.ready and summary.free_bytes >= lendable_bytes
            return known and self.retained.online(self.borrower)

        if not self.until(ready, timeout_s):
            told = self.retained.manager()
            raise OperatorError(f"the cluster is not ready to lend after {timeout_s:g} s: {told}")

    def ask(self, server: str, request: Request, timeout_s: float = ASK_S) -> Reply:
        """Send a request and return the granting reply. Raises `OperatorError` with the refusal."""
        future = self.bus.ask(server, request, timeout_s)
        self.until(future.done, timeout_s + 1.0)
        reply = future.result(0)
        if not reply.ok:
            raise OperatorError(f"{server} refused {request.VERB}: {reply.sentence}")
        return reply

    def borrow(
        self, volume: str, mode: Mode | None = None, min_lenders: int = 1, *, encrypt: bool | None = None
    ) -> AttachReply:
        """Ask for remote memory for a volume; returns when attaching has begun."""
        request = BorrowVolume(volume=volume, mode=mode, min_lenders=min_lenders, encrypt=encrypt)
        reply = self.ask(self.borrower, request)
        assert isinstance(reply, AttachReply)
        return reply

    def send_home(self, volume: str) -> None:
        """Ask for a volume's return; returns when it has begun."""
        self.ask(self.borrower, ReturnVolume(volume=volume))

    def follow(
        self,
        volume: str,
        phase: VolumePhase,
        timeout_s: float,
        on_progress: Callable[[Volume], None] = lambda _volume: None,
    ) -> Volume:
        """Wait until the volume is in `phase`, and at home until its leases are gone. Raises `OperatorError`."""
        last: Volume | None = None

        def reached() -> bool:
            nonlocal last
            now = self.volume(volume)
            if now is not None and now != last:
                last = now
                on_progress(now)
            there = now is not None and now.phase is phase
            return there and (phase is not VolumePhase.HOME or not self.leases())

        if not self.until(reached, timeout_s):
            told = f"{last.phase}: {last.step}" if last else "never heard of"
            raise OperatorError(f"{volume} is not {phase} after {timeout_s:g} s; it is {told}")
        found = self.volume(volume)
        assert found is not None
        return found

    def _take(self, timeout_s: float) -> None:
        arrived = self._session.next(timeout_s)
        if isinstance(arrived, EventArrived) and isinstance(arrived.message, Event):
            self.events.append((time.monotonic(), arrived.client, arrived.message))
            self._on_event(arrived.message, arrived.client)
