"""Whether this manager makes loans: what it hears goes to `leadership.py`, its claim to the bus. Used by its parts."""

import logging
from collections import deque
from dataclasses import dataclass
from uuid import uuid4

from ramshare.agent import Runtime
from ramshare.bus.api import Bus, StateArrived
from ramshare.generation import Generation
from ramshare.manager.leadership import HEARTBEAT_S, Leadership
from ramshare.messages.state import MOST_ANSWERED, Claim, Offer, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seat:
    """What a manager is at a moment: active, or why not."""

    generation: int = 0
    """Of its claim; 0: it makes no loans."""
    active_one: str = ""
    """Who does instead, as far as is known."""

    @property
    def active(self) -> bool:
        """Whether it makes loans."""
        return self.generation > 0


class Office:
    """Tells others of this manager's claim, and its parts whether there is one."""

    def __init__(self, bus: Bus, leadership: Leadership, runtime: Runtime) -> None:
        self._bus = bus
        self._leadership = leadership
        self._clock, self._wall = runtime.clock, runtime.wall
        self._mine: Generation | None = None
        """The claim as of the last turn."""
        self._told: Claim | None = None
        self._told_s = float("-inf")
        self._answered: deque[str] = deque(maxlen=MOST_ANSWERED)
        self.run_id = ""
        """Marks this time in office, so that a later request for the same lease is a new one."""

    @property
    def leads(self) -> bool:
        """Whether orders may be given now."""
        return self._leadership.leads(self._clock())

    @property
    def generation(self) -> int:
        """What orders carry; 0 without a claim."""
        return self._leadership.mine.number if self._leadership.mine is not None else 0

    def seat(self) -> Seat:
        """Return what this manager is now."""
        other = self._leadership.other(self._clock())
        return Seat(self.generation if self.leads else 0, other.manager if other is not None else "")

    def hear(self, arrived: StateArrived) -> tuple[str, ...]:
        """Note what another manager says of itself; return the requests that it has answered."""
        message = arrived.message
        if arrived.path == "status":
            self._leadership.hear_status(
                arrived.client, online=isinstance(message, Status) and message.status == "online"
            )
        elif arrived.path == "claim":
            claim = message if isinstance(message, Claim) else None
            number = claim.generation if claim is not None else None
            self._leadership.hear(arrived.client, number, self._clock(), live=not arrived.retained)
            return claim.answered if claim is not None else ()
        return ()

    def hear_own(self, arrived: StateArrived) -> None:
        """Note the claim of an earlier run: it is over."""
        if isinstance(arrived.message, Claim):
            self._leadership.hear_past(arrived.message.generation)

    def hear_lender(self, arrived: StateArrived) -> None:
        """Note which generation a lender obeys."""
        if isinstance(arrived.message, Offer):
            offer = arrived.message
            self._leadership.hear_lender(offer.generation, self._wall(), offer.obeys or "")

    def listen_again(self) -> None:
        """Give no orders before it is clear again who does."""
        self._leadership.listen_again(self._clock())

    def answered(self, request: str) -> None:
        """Tell who stands by, with the next heartbeat, that a request has its answer."""
        self._answered.append(request)

    def turn(self, *, ready: bool) -> bool:
        """Claim, give way or go on, and say so every second. Return whether this manager makes loans."""
        now_s = self._clock()
        self._leadership.turn(now_s, self._wall(), ready=ready)
        before, mine = self._mine, self._leadership.mine
        self._mine = mine
        if mine != before:
            self._tell_change()
        if mine is None:
            if self._told is not None:
                self._bus.set_state("claim", None)
            self._told = None
        elif self._told is None or self._told.generation != mine.number or now_s - self._told_s >= HEARTBEAT_S:
            self._told, self._told_s = Claim(generation=mine.number, answered=tuple(self._answered)), now_s
            self._answered.clear()
            self._bus.set_state("claim", self._told)
        return self.leads

    def _tell_change(self) -> None:
        mine, other = self._leadership.mine, self._leadership.other(self._clock())
        if mine is not None:
            self.run_id = uuid4().hex[:8]
            log.info("active: makes loans, generation %d", mine.number)
        else:
            log.info("stands by%s", f": {other.manager} is active" if other is not None else "")
