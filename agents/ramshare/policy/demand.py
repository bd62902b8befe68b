"""The demand policy: from what is seen of a swap volume to borrow, return or stay. Pure, the surplus policy's twin.

A *storm* is pages that are read back from the volume while somebody waits for them. Both are counted by this host's
kernel at the volume's own device, so no guest can make one up: what a guest says of its pressure counts beside real
reads only, and what it denies harms itself only. Storm and quiet are two clocks of *observed* time: each sample moves
them by the time since the last one, at most `STEP_MOST_S`, so a clock that jumps ahead proves nothing and one that goes
back takes nothing away. A storm's clock runs back while there is none: bursts that are mostly pauses never add up.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ramshare.policy.demand_model import Action, DemandDecision, Limits, Place, Setback, VolumeSample, Why
from ramshare.policy.demand_signs import is_quiet, is_storming

STEP_MOST_S = 3.0
"""One sample stands for no more time than this, however late it is: no single look decides anything."""
STIR_WEIGHT = 4.0
"""Reading a little takes so many times its own time off the quiet clock; a storm starts it anew."""
HOUR_S = 3600.0
HANDS_OFF_S = HOUR_S
"""After a person brought a volume home it is left alone."""
AGAIN_FIRST_S, AGAIN_MOST_S = 5.0, 60.0
"""Nobody answered: waits between tries double from the first to the most."""
BACK_OFF_FIRST_S, BACK_OFF_MOST_S = 30.0, HOUR_S
"""A loan was refused, did not help, or was promised and never came."""
DELIVER_S = 120.0
"""A lease that is not in use by then is not coming; a login takes a second, twenty on a host that thrashes."""
SLOWER_S = 180.0
"""A loan whose reads take longer than the disk's did for so long, while reading, is a loss."""


@dataclass(slots=True)
class _Volume:
    """What is remembered of one volume; times are of the policy's own clock."""

    identity: str
    swapper: str
    seen_s: float
    storm_s: float = 0.0
    quiet_s: float = 0.0
    undelivered_s: float = 0.0
    slower_s: float = 0.0
    home_read_s: float | None = None
    """How long a read from the local disk took in the last storm."""
    last_setback: str = ""
    setbacks: int = 0
    unanswered: int = 0
    not_before_s: float = -math.inf
    hands_off_until_s: float = -math.inf
    borrowed_s: deque[float] = field(default_factory=deque)
    """When it was borrowed for in the last hour."""


class DemandPolicy:
    """Streaming and deterministic; state bounded by the volumes and the loans of an hour. Never raises."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._volumes: dict[str, _Volume] = {}
        self._last_at_s: float | None = None
        self._now_s = 0.0

    def decide(self, sample: VolumeSample) -> DemandDecision:
        """Decide from this sample and the ones before it."""
        self._pass_time(sample.at_s)
        volume = self._volume(sample)
        if volume is None:
            return _stay(Why.GONE, f"there is no volume {sample.volume} on this host: `lvs` lists what there is")
        step_s = min(STEP_MOST_S, self._now_s - volume.seen_s)
        volume.seen_s = self._now_s
        self._note(volume, sample)
        self._count(volume, sample, step_s)
        decide: dict[Place, Callable[[_Volume, VolumeSample], DemandDecision]] = {
            Place.HOME: self._at_home,
            Place.ATTACHING: self._attaching,
            Place.ATTACHED: self._attached,
            Place.LEAVING: lambda *_: _stay(Why.ON_ITS_WAY, "it is on its way home"),
        }
        decision = decide[sample.place](volume, sample)
        decision.figures.update(
            read_bytes_s=_sane(sample.read_bytes_s),
            busy_percent=_sane(sample.busy_percent),
            storm_s=volume.storm_s,
            quiet_s=volume.quiet_s,
        )
        return decision

    # ---- what is known

    def _pass_time(self, at_s: float) -> None:
        """Move the policy's own clock: never back, and not at all by a time that is none."""
        if not math.isfinite(at_s):
            return
        if self._last_at_s is not None:
            self._now_s += min(STEP_MOST_S, max(0.0, at_s - self._last_at_s))
        self._last_at_s = at_s

    def _volume(self, sample: VolumeSample) -> _Volume | None:
        """Return what is remembered of this very volume; None if there is none. Who swaps to it now starts afresh."""
        if not sample.identity:
            self._volumes.pop(sample.volume, None)
            return None
        known = self._volumes.get(sample.volume)
        swapper = sample.swapper or (known.swapper if known is not None else "")
        if known is None or known.identity != sample.identity or (known.swapper and known.swapper != swapper):
            borrowed_s = known.borrowed_s if known is not None else deque()
            known = _Volume(sample.identity, swapper, self._now_s, borrowed_s=borrowed_s)
            self._volumes[sample.volume] = known
        known.swapper = swapper
        return known

    def _note(self, volume: _Volume, sample: VolumeSample) -> None:
        """Take note of what became of the last loan."""
        while volume.borrowed_s and self._now_s - volume.borrowed_s[0] >= HOUR_S:
            volume.borrowed_s.popleft()
        if sample.handed_back:
            volume.hands_off_until_s = self._now_s + HANDS_OFF_S
        if sample.setback is not None:
            self._set_back(volume, sample.setback)
        elif sample.place is Place.ATTACHED:
            volume.unanswered = 0

    def _set_back(self, volume: _Volume, setback: Setback) -> None:
        volume.last_setback = setback.sentence
        if setback.passing:
            wait_s = min(AGAIN_MOST_S, AGAIN_FIRST_S * 2.0 ** min(volume.unanswered, 10))
            volume.unanswered += 1
            if volume.borrowed_s:
                volume.borrowed_s.pop()  # nothing was lent
        else:
            wait_s = min(BACK_OFF_MOST_S, BACK_OFF_FIRST_S * 2.0 ** min(volume.setbacks, 10))
            volume.setbacks += 1
        volume.not_before_s = self._now_s + wait_s

    def _count(self, volume: _Volume, sample: VolumeSample, step_s: float) -> None:
        """Move the clocks of storm, quiet and loss."""
        storming = is_storming(sample)
        volume.storm_s = min(self._limits.storm_s, max(0.0, volume.storm_s + (step_s if storming else -step_s)))
        quiet = is_quiet(sample)
        if storming:
            volume.quiet_s = 0.0
        else:
            volume.quiet_s = max(0.0, volume.quiet_s + (step_s if quiet else -STIR_WEIGHT * step_s))
        read_s = sample.read_s if sample.read_s is not None and math.isfinite(sample.read_s) else None
        if sample.place is Place.HOME:
            volume.undelivered_s = volume.slower_s = 0.0
            if storming and read_s is not None:
                volume.home_read_s = read_s if volume.home_read_s is None else 0.7 * volume.home_read_s + 0.3 * read_s
        elif sample.place is Place.ATTACHING:
            volume.undelivered_s = 0.0 if sample.delivering else volume.undelivered_s + step_s
        elif sample.place is Place.ATTACHED and read_s is not None and volume.home_read_s is not None and not quiet:
            slower = read_s >= volume.home_read_s
            volume.slower_s = max(0.0, volume.slower_s + (step_s if slower else -step_s))

    # ---- what follows

    def _at_home(self, volume: _Volume, sample: VolumeSample) -> DemandDecision:
        if not sample.in_part and sample.most_bytes < sample.size_bytes:
            allowed = f"a mirror or pair takes all its {_mib(sample.size_bytes)} MiB, and {_mib(sample.most_bytes)} are"
            return _stay(Why.BUDGET, f"{allowed} allowed: allow more, or a move, which takes a part")
        if volume.storm_s <= 0.0:
            return _stay(Why.CALM, "nobody waits for pages from it")
        traffic = (
            f"pages are read back at {_mib(sample.read_bytes_s)} MiB/s from a disk {sample.busy_percent:.0f} % busy"
        )
        if volume.storm_s < self._limits.storm_s or not is_storming(sample):
            return _stay(
                Why.GATHERING,
                f"{traffic}, for {volume.storm_s:.0f} s; one that lasts {self._limits.storm_s:.0f} s is a storm",
            )
        return self._forbidden(volume, sample) or self._borrow(volume, sample, traffic)

    def _forbidden(self, volume: _Volume, sample: VolumeSample) -> DemandDecision | None:
        """A storm, but there is a reason to leave it alone."""
        if self._now_s < volume.hands_off_until_s:
            return _stay(Why.HANDS_OFF, "a storm, but a person brought it home less than an hour ago")
        if self._now_s < volume.not_before_s:
            wait_s = volume.not_before_s - self._now_s
            return _stay(Why.BACK_OFF, f"a storm, but not asked again for {wait_s:.0f} s: {volume.last_setback}")
        loans = sum(1 for known in self._volumes.values() for at_s in known.borrowed_s if self._now_s - at_s < HOUR_S)
        if loans >= self._limits.loans_per_hour:
            return _stay(
                Why.BUDGET, f"a storm, but there were {loans} loans in the last hour, which is the most allowed"
            )
        size_bytes, limit_bytes = _wanted(sample), self._limits.limit_bytes
        if limit_bytes is not None and sample.lent_bytes + size_bytes > limit_bytes:
            why = f"{_mib(sample.lent_bytes)} MiB are borrowed already and {_mib(limit_bytes)} MiB are the most allowed"
            return _stay(Why.BUDGET, f"a storm, but {why}")
        if size_bytes <= 0:
            return _stay(Why.BUDGET, "a storm, but nothing may be borrowed for it")
        return None

    def _borrow(self, volume: _Volume, sample: VolumeSample, traffic: str) -> DemandDecision:
        volume.borrowed_s.append(self._now_s)
        volume.storm_s = volume.quiet_s = 0.0
        reason = f"a storm: for {self._limits.storm_s:.0f} s and longer {traffic}"
        return DemandDecision(Action.BORROW, Why.STORM, reason, _wanted(sample))

    def _attaching(self, volume: _Volume, sample: VolumeSample) -> DemandDecision:
        if not sample.automatic:
            return _stay(Why.PERSON, "it is being attached")
        if volume.undelivered_s >= DELIVER_S:
            why = f"nothing of the loan could be used for {volume.undelivered_s:.0f} s"
            self._set_back(volume, Setback(why))
            volume.undelivered_s = 0.0
            return DemandDecision(Action.RETURN, Why.UNDELIVERED, why)
        return self._return_if_quiet(volume) or _stay(Why.ON_ITS_WAY, "it is being attached")

    def _attached(self, volume: _Volume, sample: VolumeSample) -> DemandDecision:
        if not sample.automatic:
            return _stay(Why.PERSON, "a person borrowed for it")
        if volume.slower_s >= SLOWER_S and volume.home_read_s is not None and sample.read_s is not None:
            took = f"{sample.read_s * 1e3:.1f} ms, {volume.home_read_s * 1e3:.1f} ms from the local disk before"
            why = f"for {volume.slower_s:.0f} s it has been slower than home: a read takes {took}"
            self._set_back(volume, Setback(why))
            volume.slower_s = 0.0
            return DemandDecision(Action.RETURN, Why.SLOWER, why)
        return self._return_if_quiet(volume) or _stay(Why.IN_USE, "it is swapped to, or was a moment ago")

    def _return_if_quiet(self, volume: _Volume) -> DemandDecision | None:
        """The more often it was borrowed for in the last hour, the longer it has to be quiet (up to eightfold)."""
        needed_s = self._limits.quiet_s * 2.0 ** min(3, max(0, len(volume.borrowed_s) - 1))
        if volume.quiet_s < needed_s:
            return None
        quiet_s, volume.quiet_s, volume.setbacks = volume.quiet_s, 0.0, 0
        return DemandDecision(Action.RETURN, Why.QUIET, f"nobody has swapped to it for {quiet_s:.0f} s")


def _wanted(sample: VolumeSample) -> int:
    return min(sample.most_bytes, sample.size_bytes)


def _stay(why: Why, reason: str) -> DemandDecision:
    return DemandDecision(Action.STAY, why, reason)


def _sane(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _mib(size: float) -> str:
    mib = _sane(size) / (1 << 20)
    return f"{mib:.1f}" if mib < 10 else f"{mib:.0f}"
