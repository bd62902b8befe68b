"""Whether what was asked of a volume has come true yet. Pure: arrivals in, an outcome out; `volumes.py` shows it."""

from dataclasses import dataclass, field
from typing import Literal

from ramshare.bus.api import StateArrived
from ramshare.messages.base import Message
from ramshare.messages.replies import Reply
from ramshare.messages.state import Mode, Volume, VolumePhase

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
    _gone: bool = field(default=False)

    @property
    def path(self) -> str:
        """The volume's topic below `state/<borrower>/`."""
        return f"volume/{self.volume}"

    def start(self, known: Volume | None) -> None:
        """Take what was known when the reply came: a volume that is already there stays silent."""
        self.newest = known
        self._gone = known is None and self.goal == "return"

    def see(self, arrived: StateArrived) -> bool:
        """Take note of an arrival; return whether it says anything about this volume."""
        if arrived.client != self.borrower or arrived.path != self.path:
            return False
        if arrived.message is None:
            self.newest, self._gone = None, True
        elif isinstance(arrived.message, Volume):
            self.newest, self._gone = arrived.message, False
            if arrived.message.phase is VolumePhase.FAILED and self._is_news(arrived.message):
                self.failed = arrived.message.step or "no reason was given"
        return True

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
