"""A lease on its way back to its lender: one state per lease, and what follows from each thing that happens. Pure.

A lease may go back before LVM is through with it (`cut_off`): its lender has the memory, and the lease is forgotten
here when a `Release` step says that nothing of the volume is on it any more. Used by `releases.py`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from ramshare.borrower.plan.steps import Release

RELEASE_TRIES = 3
"""After so many unanswered releases a lender is taken for dead; it is told when it returns."""


class Stage(StrEnum):
    """How far a lease is on its way."""

    NEW = "new"
    ASKED = "asked"
    """Its lender has been asked to take it back, and has not answered."""
    REFUSED = "refused"
    """The lender did not take it, or did not answer in time; it is asked again when the plan comes to it again."""
    PARTED = "parted"
    """Nothing more is expected of the lender; this host still has to forget the lease."""
    FORGETTING = "forgetting"
    """Tag and node record are being removed."""


class Todo(StrEnum):
    """What a change of the state has done."""

    ASK = "ask the lender to take it back"
    OWE = "note that the lender has yet to be told"
    FORGET = "forget the lease on this host"


@dataclass(frozen=True)
class Releasing:
    """One lease on its way."""

    lease: str
    lender: str
    stage: Stage = Stage.NEW
    cut_off: bool = False
    """It was healthy and was given back while it was in the volume group."""
    taken: bool = False
    """Its lender has it back."""
    tries: int = 0


Change = tuple[Releasing, tuple[Todo, ...]]


def begin(known: Releasing | None, step: Release, *, cut_off: bool) -> Change:
    """The plan gives the lease back, perhaps not for the first time. A lost lease's lender is not waited for."""
    now = known or Releasing(step.lease, step.lender)
    now = replace(now, cut_off=now.cut_off or cut_off)
    if now.stage in (Stage.ASKED, Stage.FORGETTING):
        return now, ()
    if now.stage is Stage.PARTED:
        return replace(now, stage=Stage.FORGETTING), (Todo.FORGET,)
    if step.lost:
        return replace(now, stage=Stage.FORGETTING), (Todo.OWE, Todo.FORGET)
    return replace(now, stage=Stage.ASKED, tries=now.tries + 1), (Todo.ASK,)


def answered(now: Releasing, *, taken: bool) -> Change:
    """The lender has taken the lease back, or it refused or kept silent."""
    now = replace(now, taken=taken)
    if now.cut_off:
        return replace(now, stage=Stage.PARTED), () if taken else (Todo.OWE,)
    if taken:
        return replace(now, stage=Stage.FORGETTING), (Todo.FORGET,)
    if now.tries >= RELEASE_TRIES:
        return replace(now, stage=Stage.FORGETTING), (Todo.OWE, Todo.FORGET)
    return replace(now, stage=Stage.REFUSED), ()


def not_forgotten(now: Releasing) -> Releasing:
    """The lease could not be forgotten here; that is tried again, the lender has nothing to do with it."""
    return replace(now, stage=Stage.PARTED)
