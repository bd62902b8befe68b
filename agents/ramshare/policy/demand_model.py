"""What goes into the demand policy and what comes out: the twin of `model.py`, for those who borrow.

Written against by the borrower's agent, the replay and the policy. Sizes are bytes, times seconds. What the host's
kernel counted of a volume is a fact; what a guest says of itself is a claim, and `demand.py` says what it may move.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Place(StrEnum):
    """Where a volume is, as the borrower sees it."""

    HOME = "home"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    LEAVING = "leaving"


class Action(StrEnum):
    """What to do about a volume."""

    BORROW = "borrow"
    RETURN = "return"
    STAY = "stay"


class Why(StrEnum):
    """What kind of reason a decision has; its sentence says the rest. A new kind is news, a new figure is none."""

    CALM = "calm"
    GATHERING = "gathering"
    """It looks like a storm that is too young to be believed."""
    STORM = "storm"
    HANDS_OFF = "hands-off"
    """A person brought the volume home."""
    BACK_OFF = "back-off"
    """The last loans came to nothing."""
    BUDGET = "budget"
    GONE = "gone"
    PERSON = "person"
    """A person's loan, which is none of the policy's business."""
    ON_ITS_WAY = "on-its-way"
    IN_USE = "in-use"
    QUIET = "quiet"
    UNDELIVERED = "undelivered"
    SLOWER = "slower"


@dataclass(frozen=True, slots=True)
class SwapReport:
    """What one who swaps to a volume says of its memory: this host's kernel, or a guest, who may say anything.

    `psi_some` is percent of the time in which a task waited for memory; None where the kernel does not know.
    """

    who: str
    age_s: float
    swap_in_bytes_s: float
    psi_some: float | None = None
    refaults_s: float | None = None


@dataclass(frozen=True, slots=True)
class Setback:
    """The loan that was asked for came to nothing. `passing`: nobody was there to answer, ask again soon."""

    sentence: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class VolumeSample:
    """One volume that the owner allowed, as known at `at_s` on a clock that should never go back, but may.

    `identity` tells this volume from another one of its name, empty if there is none; `swapper` says who swaps to it.
    `read_bytes_s`, `write_bytes_s`, `busy_percent` and `read_s` (how long one read took on average, None without reads)
    are what the host's kernel counted at the volume's own device since the last sample, wherever its pages lie.
    `most_bytes` is how much of it the owner lets be borrowed for, `in_part` whether less than all of it can be.
    `lent_bytes` is what other automatic loans of this host take. `delivering`: some lease of it is in use or being
    filled. `setback` and `handed_back` (by a person) tell what happened since the last sample.
    """

    volume: str
    at_s: float
    identity: str = "?"
    swapper: str = ""
    size_bytes: int = 0
    most_bytes: int = 0
    in_part: bool = True
    place: Place = Place.HOME
    automatic: bool = False
    delivering: bool = False
    read_bytes_s: float = 0.0
    write_bytes_s: float = 0.0
    busy_percent: float = 0.0
    read_s: float | None = None
    swap_used_bytes: float | None = None
    reports: tuple[SwapReport, ...] = ()
    lent_bytes: int = 0
    setback: Setback | None = None
    handed_back: bool = False


@dataclass(frozen=True, slots=True)
class DemandDecision:
    """What to do, of how many bytes, and why: one sentence for people, the numbers behind it, and its kind."""

    action: Action
    why: Why
    reason: str
    size_bytes: int = 0
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner allows the policy, all volumes of the host together, and how patient it is."""

    storm_s: float = 8.0
    """A storm that lasts so long is no blip: a program that starts reads what it had swapped out in less."""
    quiet_s: float = 600.0
    """Without swapping for so long a volume goes home."""
    loans_per_hour: int = 4
    limit_bytes: int | None = None
