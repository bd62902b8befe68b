"""Small valid messages for tests that care about their way, not their content."""

from ramshare.contract.examples import EXAMPLES
from ramshare.messages.events import Event, EventKind
from ramshare.messages.state import Export, Lease, LeasePhase, Memory, Mode

GIB = 1 << 30


def memory(used_bytes: int = GIB) -> Memory:
    """A memory report."""
    return Memory(total_bytes=4 * GIB, available_bytes=4 * GIB - used_bytes, used_bytes=used_bytes, interval_s=5)


def lease(name: str = "l1", phase: LeasePhase = LeasePhase.ATTACHED) -> Lease:
    """A borrower's lease record."""
    return Lease(lease=name, lender="lender.hosta", volume="vg0/swap", size_bytes=GIB, mode=Mode.MIRROR, phase=phase)


def export(name: str = "l1") -> Export:
    """A lender's export."""
    shown = EXAMPLES[Export]
    assert isinstance(shown, Export)
    return shown.model_copy(update={"lease": name})


def event(sentence: str = "It happened.", kind: EventKind = EventKind.STEP) -> Event:
    """An event."""
    return Event(kind=kind, sentence=sentence)
