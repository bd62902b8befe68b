"""How a cluster reacts by itself: the figures of `ramshare lab react`, as `results/react.json`. Pure.

Times are by the clock of whoever listens on the bus; `scenario.py` measures.
"""

from collections.abc import Sequence

from ramshare.messages.events import Event, EventKind
from ramshare_lab.experiments.results import Model

BORROWING, RETURNING = "borrowing", "returning"
"""How the sentences of `demand` events begin that say what a borrower does by itself (`borrower/auto.py`)."""


class Blip(Model):
    """A storm that is over before it is one."""

    seconds: float
    loans: int


class Reaction(Model):
    """A storm, from its first access until the volume is home again."""

    decided_s: float
    """From the storm's first access until the borrower said that it borrows."""
    attached_s: float
    """The same until the volume was on remote memory."""
    before_s: float
    """Accesses finished each second before anything was decided."""
    after_s: float
    """The same when it was attached."""
    lender_left_s: float | None
    """From a lender's wish for its memory until it had it back, the storm going on; None where nobody asked."""
    home_s: float
    """From the storm's end until the volume was home and every lease given back; the quiet time is in it."""
    quiet_s: float
    """How long a volume had to be quiet."""

    @property
    def gain(self) -> float:
        """How many times as fast."""
        return self.after_s / self.before_s if self.before_s else 0.0


class Refusal(Model):
    """A storm on a fast local disk: the loan would not help."""

    decided_s: float
    given_back_s: float
    """From the decision until every lease was given back."""
    reason: str
    """The borrower's words, with both figures."""


class React(Model):
    """`results/react.json`."""

    accel: str
    mode: str
    disk_iops: int
    volume_bytes: int
    blip: Blip
    reaction: Reaction
    refusal: Refusal | None
    needless_loans: int
    """Loans beside the one that the storm needed, those that were refused for not helping left out."""
    bad_pages: int


def sayings(events: Sequence[tuple[float, str, Event]], begins: str) -> list[tuple[float, str]]:
    """Return what a borrower said that it does by itself: when, and the sentence."""
    return [
        (at_s, event.sentence)
        for at_s, _, event in events
        if event.kind is EventKind.DEMAND and event.sentence.startswith(begins)
    ]
