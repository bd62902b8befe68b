"""Which of several managers makes loans: one claims to, the others stand by and take over when it falls silent. Pure.

Nothing depends on who believes to be active, nor on anybody's clock: a lender refuses what an older generation than
the newest it knows of orders (`lender/fence.py`), and lends no byte twice whoever asks. So a claim needs no votes:
whoever hears of no other claim makes one, with a higher generation than any that it knows; who hears a higher one gives
way. Two that claim at once cost a request a repetition, no more.
"""

from dataclasses import dataclass

from ramshare.generation import NONE, Generation

HEARTBEAT_S = 1.0
"""Between two times that a claim is said."""
SILENT_S = 3.0
"""A claim that was not said for so long is nobody's any more: three heartbeats, and time to serve within five."""
AWAY_S = 2.5
"""A manager that could not turn for so long (stopped, starved) may have been replaced: it listens before it acts."""
LISTEN_AGAIN_S = 1.5
"""How long it listens then; who is active says so every second."""
FAR_AHEAD = 365 * 24 * 3600
"""A lender's word about generations is believed up to a year of seconds ahead: no liar can use up all numbers."""


@dataclass
class _Rival:
    generation: Generation
    heard_s: float
    offline: bool = False


class Leadership:
    """One manager's view: what it has heard of others, and its own claim, if it has one."""

    def __init__(self, me: str) -> None:
        self._me = me
        self.mine: Generation | None = None
        """The claim of this manager."""
        self._newest = NONE
        self._rivals: dict[str, _Rival] = {}
        self._turned_s = float("inf")
        self._listen_until_s = float("-inf")

    # --- what is heard

    def hear(self, manager: str, number: int | None, now_s: float, *, live: bool) -> None:
        """Note another manager's claim, just said (`live`) or stored; None: it has none any more.

        A stored one counts as said now, unless that manager is offline.
        """
        if number is None:
            self._rivals.pop(manager, None)
            return
        claimed = Generation(number, manager)
        self._newest = max(self._newest, claimed)
        offline = not live and manager in self._rivals and self._rivals[manager].offline
        self._rivals[manager] = _Rival(claimed, now_s, offline)

    def hear_status(self, manager: str, *, online: bool) -> None:
        """Note whether another manager is there: of one that is not, no claim counts."""
        rival = self._rivals.setdefault(manager, _Rival(NONE, float("-inf")))
        rival.offline = not online

    def hear_past(self, number: int) -> None:
        """Note a claim that is over: an earlier run's of this manager."""
        self._newest = max(self._newest, Generation(number))

    def hear_lender(self, number: int, wall_s: float, manager: str = "") -> None:
        """Note the newest generation that a lender says it obeyed, and whose it was."""
        if number <= max(wall_s, self._newest.number) + FAR_AHEAD:
            self._newest = max(self._newest, Generation(number, manager))

    def listen_again(self, until_s: float) -> None:
        """Give up the own claim, and make none before `until_s`: a new connection, or a pause."""
        self.mine = None
        self._listen_until_s = until_s

    # --- what follows

    def leads(self, now_s: float) -> bool:
        """Whether this manager may give orders now."""
        return self.mine is not None and not self._was_away(now_s)

    def other(self, now_s: float) -> Generation | None:
        """Return the highest claim of another that was heard of late."""
        heard = [r.generation for r in self._rivals.values() if not r.offline and now_s - r.heard_s < SILENT_S]
        return max(heard, default=None)

    def turn(self, now_s: float, wall_s: float, *, ready: bool) -> None:
        """Claim, give way, or leave it as it is. To be called every `HEARTBEAT_S`, or more often.

        `ready`: all that is stored was heard; before, nobody claims. `wall_s` (seconds since 1970) only makes it likely
        that a generation is new where all memory of earlier ones was lost.
        """
        if self._was_away(now_s):
            self.listen_again(now_s + LISTEN_AGAIN_S)
        self._turned_s = now_s
        other = self.other(now_s)
        if self.mine is not None:
            if other is not None and other > self.mine:
                self.listen_again(now_s)
            elif self._newest > self.mine:
                self._claim(wall_s)
        elif ready and other is None and now_s >= self._listen_until_s:
            self._claim(wall_s)

    def _was_away(self, now_s: float) -> bool:
        """Whether another may have taken over since the last turn; without another there is nothing to wait for."""
        return bool(self._rivals) and now_s - self._turned_s > AWAY_S

    def _claim(self, wall_s: float) -> None:
        self.mine = self._newest = Generation(max(self._newest.number + 1, int(wall_s)), self._me)
