"""Follows a volume until what was asked of it has come true, with a bar on a terminal and lines elsewhere.

`Following` is pure: arrivals in, an outcome out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ramshare.bus.api import StateArrived
from ramshare.cli.output import err, note, one_line
from ramshare.cli.session import HINTS, POLL_S, RequestRefusedError, Session
from ramshare.errors import RamshareError
from ramshare.messages.base import Message
from ramshare.messages.replies import AttachReply, ErrorCode, Reply
from ramshare.messages.requests import ReturnVolume
from ramshare.messages.state import Mode, Volume, VolumePhase
from ramshare.topics import volume_path

STOP_S = 5.0
"""A borrower that has nothing else to do answers at once; Ctrl-C is not kept waiting longer."""


class VolumeFailedError(RamshareError):
    """The borrower gave up."""

    code = "volume-failed"


class StillWaitingError(RamshareError):
    """The time given is over; the work goes on."""

    code = "still-waiting"


Goal = Literal["attach", "return"]


@dataclass
class Following:
    """Watches one volume of one borrower after a granted request.

    A stored value may describe an earlier attempt. Only what the borrower published after its reply counts: `seq` grows
    within one run of an agent, and another `instance` than the reply's is a later run.
    """

    borrower: str
    volume: str
    goal: Goal
    reply: Reply
    mode: Mode | None = None
    newest: Volume | None = None
    online: bool = True
    failed: str = ""
    in_vain: str = ""
    """Why it waits for memory no more, without any."""
    waiting: bool = False
    """It waits for memory."""
    _gone: bool = field(default=False)

    @property
    def path(self) -> str:
        """The volume's topic below `state/<borrower>/`."""
        return volume_path(self.volume)

    def start(self, known: Volume | None) -> None:
        """Take what was known when the reply came: a volume that is already there stays silent."""
        self.newest = known
        self.waiting = isinstance(self.reply, AttachReply) and self.reply.waiting
        self._gone = known is None and self.goal == "return"

    def see(self, arrived: StateArrived) -> bool:
        """Take note of an arrival; return whether it says anything about this volume."""
        if arrived.client != self.borrower or arrived.path != self.path:
            return False
        if arrived.message is None:
            self.newest, self._gone = None, True
            if self.waiting:
                self.in_vain = f"{self.borrower} does not wait for memory for {self.volume} any more"
        elif isinstance(arrived.message, Volume):
            self.newest, self._gone = arrived.message, False
            if self.waiting and self._is_news(arrived.message):
                self._see_waiting(arrived.message)
            elif arrived.message.phase is VolumePhase.FAILED and self._is_news(arrived.message):
                self.failed = arrived.message.step or "no reason was given"
        return True

    def _see_waiting(self, told: Volume) -> None:
        self.waiting = told.phase is VolumePhase.WAITING
        if told.phase in (VolumePhase.FAILED, VolumePhase.HOME):
            self.in_vain = told.step or f"{self.volume} got no memory"

    @property
    def done(self) -> bool:
        """Whether the volume has come to rest: home, or attached (in another mode if it was so before the request)."""
        if self.goal == "return":
            return self._gone or (
                self.newest is not None and self.newest.phase is VolumePhase.HOME and not self.newest.leases
            )
        if self.newest is None or self.newest.phase is not VolumePhase.ATTACHED:
            return False
        return self.mode is None or self.newest.mode in (None, self.mode) or self._is_news(self.newest)

    def _is_news(self, message: Message) -> bool:
        return message.instance != self.reply.instance or message.seq > self.reply.seq


def wait_for(session: Session, following: Following, host: str, until_s: float | None) -> None:
    """Follow the volume to its goal. Raises `VolumeFailedError` or `StillWaitingError`."""
    verb = "attaching" if following.goal == "attach" else "returning"
    try:
        with _shown(verb, following) as show:
            while not following.done and not following.failed and not following.in_vain:
                if until_s is not None and session.clock() > until_s:
                    step = following.newest.step if following.newest else "nothing heard yet"
                    raise StillWaitingError(
                        f"{following.volume} is not done yet: {step}", f"{host} goes on; follow it with ramshare watch"
                    )
                arrival = session.next(POLL_S)
                if isinstance(arrival, StateArrived):
                    following.see(arrival)
                following.online = session.snapshot.online(following.borrower)
                show(session.connected)
    except KeyboardInterrupt:
        if following.waiting:
            stop_waiting(session, following.borrower, following.volume)
            raise
        note(f"Stopped watching; the borrower of {host} goes on {verb} {following.volume}.")
        other = "return" if following.goal == "attach" else "borrow"
        note(f"Follow it: ramshare watch. The other way: ramshare {other} {following.volume} --host {host}")
        raise
    if following.in_vain:
        raise RequestRefusedError(ErrorCode.NO_CAPACITY, following.in_vain, HINTS[ErrorCode.NO_CAPACITY])
    if following.failed:
        raise VolumeFailedError(
            f"{verb} {following.volume}: {following.failed}",
            f"ramshare status shows its pages; ramshare return {following.volume} --host {host} ends the tries",
        )
    found = following.newest
    if following.goal == "attach" and following.mode and found and found.mode not in (None, following.mode):
        raise RequestRefusedError(
            ErrorCode.CONFLICT,
            f"{following.volume} was attached already, by {found.mode}; it was left so",
            f"first: ramshare return {following.volume} --host {host}",
        )


def stop_waiting(session: Session, borrower: str, volume: str) -> None:
    """Have a borrower wait for memory no more; what it has got meanwhile it keeps."""
    try:
        reply = session.ask(borrower, ReturnVolume(volume=volume, only_waiting=True), STOP_S)
    except RamshareError as error:
        note(f"{volume} may still wait for memory ({error}); ramshare return ends that.")
    else:
        note(f"Stopped: {reply.sentence}.")


@contextmanager
def _shown(verb: str, following: Following) -> Iterator[Callable[[bool], None]]:
    """Show a bar on a terminal, otherwise one line for each new step."""
    console, last = err(), ""

    def text(connected_now: bool) -> str:
        if not connected_now:
            return "the broker is away; the work goes on"
        if not following.online:
            return f"{following.borrower} is away; it goes on when it is back"
        found = following.newest
        return one_line(found.step or found.phase) if found else "asked"

    if not console.is_terminal:

        def line(connected_now: bool) -> None:
            nonlocal last
            if text(connected_now) != last:
                last = text(connected_now)
                note(f"{following.volume}: {last}")

        yield line
        return
    columns = (TextColumn("{task.fields[volume]}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(
        *columns, TimeElapsedColumn(), TextColumn("{task.description}", markup=False), console=console
    ) as progress:
        task = progress.add_task(verb, total=100.0, volume=following.volume)

        def bar(connected_now: bool) -> None:
            found = following.newest
            percent = 100.0 if following.done else found.progress_percent if found else 0.0
            progress.update(task, completed=percent, description=text(connected_now))

        bar(True)
        yield bar
