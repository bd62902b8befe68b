"""What guests ask of their own host: borrow for my swap, bring it home. Used by the borrower's agent.

The host's owner names the guests that may (`RAMSHARE_BORROWER_GUESTS`), each with its volume, the mode and the most. A
guest names nothing but a size. What is asked is served as a person's request is, by `requests.py`. Stated behaviour:

- Whose volume it is, the hypervisor is asked anew for every request; without its word nothing is done.
- A guest is heard while it runs here with its volume as a disk. Borrowers claim such guests (`state/…/guest/<guest>`)
  and hear each other's claims: where two hosts claim one, as for seconds in a migration or for ever with two guests of
  one name, both refuse. A claim that is not repeated counts for `CLAIM_STALE_S`.
- Answers say what became of the guest's own swap in fixed sentences: no host, volume, lender, borrower or figure of the
  cluster is in them. The full reason is in this host's log and events.
- A guest may ask `ASKS` often; what is over is refused, and above the bus's own rate not even that.
- A volume that is attached already, by whomever, is left as it is; `return` brings home what its owner allowed it.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial

from ramshare.borrower.guests import Disks, SwapGuests
from ramshare.borrower.plan.view import Goal
from ramshare.borrower.volumes import Volumes
from ramshare.bus.api import Bus, RequestArrived, StateArrived
from ramshare.bus.rate import Rate, TokenBuckets
from ramshare.desk import Desk, RefusedError
from ramshare.loop import Loop, say
from ramshare.messages.events import EventKind
from ramshare.messages.replies import AttachReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowOwnSwap, BorrowVolume, Request, ReturnOwnSwap, ReturnVolume
from ramshare.messages.state import GuestClaim, Mode
from ramshare.settings import GuestAllowance
from ramshare.topics import name

log = logging.getLogger(__name__)

ASKS = Rate(per_s=1 / 10, burst=5)
"""A person who looks how far it is asks every few seconds; a volume takes seconds to minutes to move."""
SETTLE_S = 2.0
"""A guest that has just come is served when the other host had the time to let go of it."""
CLAIM_EVERY_S, CLAIM_STALE_S = 60.0, 180.0
"""As agents' heartbeats."""
AskSelf = Callable[[Request, Callable[[Reply], None], str], None]

WHY_NOT = {
    ErrorCode.NO_CAPACITY: "there is no memory to lend now; ask again later",
    ErrorCode.BUSY: "your host is busy with your swap; ask again in a few seconds",
    ErrorCode.NOT_READY: "your host cannot do it at this moment; ask again in a few seconds",
}
"""What a guest hears of a refusal; of any other that its host cannot."""
CANNOT = "your host cannot do that for your swap; its owner finds the reason in the log of ramshare-borrower"
TWO_HOSTS = "two hosts say that you run on them; after a migration ask again in a minute, else tell their owners"
NOT_YOURS = "your host cannot tell that the swap volume it knows for you is your disk alone; tell its owner"


class GuestRequests:
    """Owns the claims and the guests' rates; runs on the agent's loop."""

    def __init__(
        self,
        loop: Loop,
        bus: Bus,
        desk: Desk,
        allowed: Mapping[str, GuestAllowance],
        guests: SwapGuests,
        volumes: Volumes,
        ask_self: AskSelf,
    ) -> None:
        """`ask_self` has a request of a client served by this very agent."""
        self._loop = loop
        self._bus = bus
        self._desk = desk
        self._allowed = allowed
        self._guests = guests
        self._volumes = volumes
        self._ask_self = ask_self
        self._rates = TokenBuckets(max(1, len(allowed)))
        self._since_s: dict[str, float] = {}
        """Guests that are claimed, and since when."""
        self._told_s: dict[str, float] = {}
        """When each claim was last said."""
        self._rivals: dict[str, dict[str, float]] = {}
        """Guest to the other borrowers that claim it, and when each was heard."""

    @property
    def paths(self) -> Collection[str]:
        """The state paths that are published."""
        return {f"guest/{guest}" for guest in self._since_s}

    @property
    def volumes(self) -> frozenset[str]:
        """The volumes that guests may ask for."""
        return frozenset(allowance.volume for allowance in self._allowed.values())

    def turn(self) -> None:
        """Claim the guests that are here now, and hear them; let go of those that left."""
        now_s = self._loop.clock()
        here = {guest for guest, allowance in self._allowed.items() if guest in self._guests.of(allowance.volume)}
        for guest in sorted(here - self._since_s.keys()):
            self._since_s[guest] = now_s
            self._bus.watch_state("+", f"guest/{guest}")
            self._bus.watch_requests(f"guest.{guest}")
        for guest in sorted(self._since_s.keys() - here):
            del self._since_s[guest]
            self._told_s.pop(guest, None)
            self._rivals.pop(guest, None)
            self._bus.unwatch_state("+", f"guest/{guest}")
            self._bus.unwatch_requests(f"guest.{guest}")
            self._bus.set_state(f"guest/{guest}", None)
        for guest in self._since_s:
            if now_s - self._told_s.get(guest, float("-inf")) >= CLAIM_EVERY_S:
                self._told_s[guest] = now_s
                self._bus.set_state(f"guest/{guest}", GuestClaim(guest=guest))

    def take(self, arrived: StateArrived) -> None:
        """Take another borrower's claim, or its end."""
        kind, _, guest = arrived.path.partition("/")
        if kind != "guest" or guest not in self._since_s or arrived.client == self._bus.client:
            return
        rivals = self._rivals.setdefault(guest, {})
        rivals.pop(arrived.client, None)
        if isinstance(arrived.message, GuestClaim) and arrived.message.guest == guest:
            rivals[arrived.client] = self._loop.clock()

    def serve(self, arrived: RequestArrived[BorrowOwnSwap] | RequestArrived[ReturnOwnSwap]) -> Reply | None:
        """Judge a guest's request by what is known; then the hypervisor is asked whose disk it is."""
        guest, now_s = name(arrived.client), self._loop.clock()
        allowance = self._allowed.get(guest)
        if allowance is None or guest not in self._since_s:
            raise RefusedError(ErrorCode.NOT_ALLOWED, CANNOT)
        if not self._rates.take(guest, ASKS, now_s):
            raise RefusedError(ErrorCode.BUSY, f"you ask too often; once in {1 / ASKS.per_s:.0f} s is served")
        if any(now_s - heard_s < CLAIM_STALE_S for heard_s in self._rivals.get(guest, {}).values()):
            raise RefusedError(ErrorCode.CONFLICT, TWO_HOSTS)
        if now_s - self._since_s[guest] < SETTLE_S or not self._volumes.all_seen:
            raise RefusedError(ErrorCode.NOT_READY, WHY_NOT[ErrorCode.NOT_READY])
        self._guests.look(self._desk.follow_up(partial(self._looked, arrived, allowance)))
        return None

    def _looked(
        self,
        arrived: RequestArrived[BorrowOwnSwap] | RequestArrived[ReturnOwnSwap],
        allowance: GuestAllowance,
        disks: Disks | Exception,
    ) -> None:
        guest = name(arrived.client)
        if isinstance(disks, Exception):
            log.warning("%s asks for its swap, and it is not known whose %s is: %s", guest, allowance.volume, disks)
            raise RefusedError(ErrorCode.NOT_READY, WHY_NOT[ErrorCode.NOT_READY])
        if disks.get(allowance.volume) != (guest,):
            raise RefusedError(ErrorCode.CONFLICT, NOT_YOURS)
        request = arrived.request
        if isinstance(request, ReturnOwnSwap):
            wanted: Request = ReturnVolume(volume=allowance.volume)
        elif self._is_attached(allowance.volume):
            self._settle(arrived, allowance, Reply(request_id=request.request_id), "it is on remote memory already")
            return
        else:
            wanted = BorrowVolume(volume=allowance.volume, mode=allowance.mode, size_bytes=_size(request, allowance))
        self._ask_self(wanted, partial(self._served, arrived, allowance), arrived.client)

    def _is_attached(self, volume: str) -> bool:
        managed = self._volumes.get(volume)
        return managed is not None and managed.view is not None and managed.view.goal is Goal.ATTACHED

    def _served(
        self,
        arrived: RequestArrived[BorrowOwnSwap] | RequestArrived[ReturnOwnSwap],
        allowance: GuestAllowance,
        reply: Reply,
    ) -> None:
        if isinstance(reply, AttachReply):
            size_bytes = arrived.request.size_bytes if isinstance(arrived.request, BorrowOwnSwap) else None
            size_bytes = size_bytes or allowance.most_bytes
            much = f"{size_bytes >> 20} MiB of your swap" if size_bytes and allowance.mode is Mode.MOVE else "your swap"
            self._settle(arrived, allowance, reply, f"{much} goes to remote memory, by {allowance.mode}")
        else:
            self._settle(arrived, allowance, reply, "your swap comes home to the local disk")

    def _settle(
        self,
        arrived: RequestArrived[BorrowOwnSwap] | RequestArrived[ReturnOwnSwap],
        allowance: GuestAllowance,
        reply: Reply,
        done: str,
    ) -> None:
        """Answer a guest with what it may know, and tell the rest to those who may read it."""
        guest, verb = name(arrived.client), arrived.verb
        outcome = "done" if reply.ok else f"refused ({reply.error})"
        sentence = f"guest {guest} asked to {verb} {allowance.volume}: {outcome}: {reply.sentence or done}"
        say(self._bus, EventKind.GUEST_ASKED, sentence, volume=allowance.volume, peer=arrived.client)
        told = done if reply.error is None else WHY_NOT.get(reply.error, CANNOT)
        answer = Reply(request_id=arrived.request.request_id, error=reply.error, sentence=told)
        self._desk.settle(arrived, answer)


def _size(request: BorrowOwnSwap, allowance: GuestAllowance) -> int | None:
    """Return how much to borrow for. Raises `RefusedError` for more than its host's owner allows."""
    most_bytes = allowance.most_bytes
    if most_bytes is not None and request.size_bytes is not None and request.size_bytes > most_bytes:
        raise RefusedError(ErrorCode.NOT_ALLOWED, f"your host lends you {most_bytes >> 20} MiB at most")
    return most_bytes if request.size_bytes is None else request.size_bytes
