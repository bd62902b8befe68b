"""When to stop trying: a step that cannot be done must not keep lenders' memory for ever. Pure.

Only steps towards being attached are given up: on the way home, and while something dead is cleaned up, there is
nothing to fall back to. Used by the borrower's cycle, which then sends the volume home and says why.
"""

from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.view import Goal, VolumeView

TRIES_MOST = 8
"""Failures in a row of a step; with the pauses in between (2 s, doubling to 60 s) some three minutes."""
STUCK_MOST_S = 300.0
"""For a state that only somebody else can change: a disk that does not appear, a volume that became unsuitable."""


def gives_up(view: VolumeView, step: s.Step, failures: int, stuck_s: float) -> bool:
    """Whether the volume should go home after `failures` of this step in a row, or `stuck_s` without a change."""
    if view.goal is not Goal.ATTACHED:
        return False
    if isinstance(step, s.Wait):
        return step.hopeless or (step.stuck and stuck_s >= STUCK_MOST_S)
    return failures >= TRIES_MOST and _leads_out(view, step)


def _leads_out(view: VolumeView, step: s.Step) -> bool:
    """Whether this step builds what the goal asks for."""
    match step:
        case s.Compare() | s.Join() | s.StartMirror() | s.PreferRemote() | s.ReserveHome():
            return True
        case s.FreeHome():
            return not view.remote_bytes
        case s.StartMove(_, destinations):
            return not set(destinations) & set(view.way_home)
        case _:
            return False
