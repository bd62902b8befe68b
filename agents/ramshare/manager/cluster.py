"""What the manager knows: the newest retained message of every agent, and how old it is. No I/O.

The manager owns nothing. This state is a cache of what lenders and borrowers say of themselves, built from their
retained topics, and may be thrown away at any time.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ramshare.bus.api import StateArrived
from ramshare.messages.base import Message
from ramshare.messages.state import Export, Lease, LeasePhase, Offer, Status
from ramshare.topics import name, role

log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)

STALE_AFTER_S = 150.0
"""Two and a half heartbeats of 60 s: an agent that missed two is not asked for memory."""


@dataclass
class AgentView:
    """One agent as it describes itself; times are the manager's own clock, so clocks need not agree."""

    client: str
    heard_s: float = 0.0
    fresh: bool = False
    """Heard since this manager started, not only replayed by the broker."""
    online: bool = False
    messages: dict[str, Message] = field(default_factory=dict)

    @property
    def offer(self) -> Offer | None:
        """The offer of the run that is online now; one that an earlier run left behind is nobody's word any more."""
        found, status = self.messages.get("offer"), self.messages.get("status")
        current = status is not None and found is not None and found.instance == status.instance
        return found if isinstance(found, Offer) and current else None

    def of_kind(self, kind: type[M]) -> Iterator[M]:
        """Yield every message of one kind."""
        return (message for message in self.messages.values() if isinstance(message, kind))


class Cluster:
    """Every agent's newest words. `take` folds one arrival in; the rest are questions."""

    def __init__(self) -> None:
        self.agents: dict[str, AgentView] = {}

    def take(self, arrived: StateArrived, now_s: float) -> None:
        """Fold in one retained topic.

        Ignored are a replay older than what the same run said live, and a message that contradicts its own topic.
        A last will is as old as its connection and yet the newest word, so age counts among replays only.
        """
        if not _plausible(arrived):
            log.warning("ignored: state/%s/%s speaks of something else", arrived.client, arrived.path)
            return
        view = self.agents.setdefault(arrived.client, AgentView(arrived.client))
        if not arrived.retained:
            view.heard_s, view.fresh = now_s, True
        elif view.heard_s == 0.0:
            view.heard_s = now_s
        message = arrived.message
        if message is None:
            view.messages.pop(arrived.path, None)
        elif not (arrived.retained and _older(message, view.messages.get(arrived.path))):
            view.messages[arrived.path] = message
        status = view.messages.get("status")
        view.online = isinstance(status, Status) and status.status == "online"
        if not view.messages:
            del self.agents[arrived.client]

    def distrust(self) -> None:
        """Take nothing for fresh: we were cut off, and the broker may replay what is long past."""
        for view in self.agents.values():
            view.fresh = False

    def lenders(self) -> list[AgentView]:
        """Return the lenders, by name."""
        return self._of("lender")

    def borrowers(self) -> list[AgentView]:
        """Return the borrowers, by name."""
        return self._of("borrower")

    def usable(self, view: AgentView, now_s: float) -> bool:
        """Whether an agent may be asked now: online, heard by this manager, and not long ago."""
        return view.online and view.fresh and now_s - view.heard_s <= STALE_AFTER_S

    def unheard(self) -> list[str]:
        """Return the lenders and borrowers that are online by their retained status but have not spoken to us yet."""
        return [view.client for view in (*self.borrowers(), *self.lenders()) if view.online and not view.fresh]

    def exports(self) -> list[tuple[AgentView, Export]]:
        """Return every export of every lender."""
        return [(view, export) for view in self.lenders() for export in view.of_kind(Export)]

    def abandoned(self, export: Export, now_s: float) -> bool:
        """Whether an export has no session and none is to come: it never had one, or its borrower does not know it."""
        if export.connected:
            return False
        borrower = self.agents.get(export.borrower)
        if export.phase is LeasePhase.EXPORTED or borrower is None:
            return export.phase is LeasePhase.EXPORTED
        return self.usable(borrower, now_s) and f"lease/{export.lease}" not in borrower.messages

    def borrowing_hosts(self) -> set[str]:
        """Return the hosts whose own swap is remote, by their or their lenders' word; they must not lend (deadlock)."""
        own = {name(view.client) for view in self.borrowers() if any(True for _ in view.of_kind(Lease))}
        return own | {name(export.borrower) for _, export in self.exports()}

    def lending_hosts(self) -> set[str]:
        """Return the hosts that have memory lent out; they must not borrow."""
        return {name(view.client) for view in self.lenders() if any(True for _ in view.of_kind(Export))}

    def _of(self, wanted: str) -> list[AgentView]:
        return sorted((v for v in self.agents.values() if role(v.client) == wanted), key=lambda v: v.client)


def _plausible(arrived: StateArrived) -> bool:
    """Whether a message speaks of the lease that its topic names; its author may be anyone with an account."""
    message = arrived.message
    return not isinstance(message, Export | Lease) or arrived.path.endswith(f"/{message.lease}")


def _older(new: Message, old: Message | None) -> bool:
    return old is not None and new.instance == old.instance and new.seq < old.seq
