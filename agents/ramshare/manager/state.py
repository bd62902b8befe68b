"""What the manager knows: the newest retained message of every agent, and how old it is. No I/O.

The manager owns nothing. This state is a cache of what lenders and borrowers say of themselves, built from their
retained topics, and may be thrown away at any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ramshare.bus.api import StateArrived
from ramshare.messages.base import Message
from ramshare.messages.state import Export, HostRecord, Lease, LeaseRecord, Offer, Status
from ramshare.topics import name, role

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
    first_seen_s: dict[str, float] = field(default_factory=dict)

    @property
    def offer(self) -> Offer | None:
        """The lender's offer, if it made one."""
        found = self.messages.get("offer")
        return found if isinstance(found, Offer) else None

    def of_kind(self, kind: type[M]) -> Iterator[M]:
        """Yield every message of one kind."""
        return (message for message in self.messages.values() if isinstance(message, kind))


class Cluster:
    """Every agent's newest words. `take` folds one arrival in; the rest are questions."""

    def __init__(self) -> None:
        self.agents: dict[str, AgentView] = {}

    def take(self, arrived: StateArrived, now_s: float) -> None:
        """Fold in one retained topic; an older message of the same instance (a late replay) is ignored."""
        view = self.agents.setdefault(arrived.client, AgentView(arrived.client))
        if not arrived.retained:
            view.heard_s, view.fresh = now_s, True
        elif view.heard_s == 0.0:
            view.heard_s = now_s
        message = arrived.message
        if message is None:
            view.messages.pop(arrived.path, None)
            view.first_seen_s.pop(arrived.path, None)
        elif not _older(message, view.messages.get(arrived.path)):
            view.messages[arrived.path] = message
            view.first_seen_s.setdefault(arrived.path, now_s)
        status = view.messages.get("status")
        view.online = isinstance(status, Status) and status.status == "online"
        if not view.messages:
            del self.agents[arrived.client]

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
        """Return the agents whose retained status says online but who have not spoken since this manager started."""
        return sorted(view.client for view in self.agents.values() if view.online and not view.fresh)

    def exports(self) -> list[tuple[AgentView, Export]]:
        """Return every export of every lender."""
        return [(view, export) for view in self.lenders() for export in view.of_kind(Export)]

    def borrowing_hosts(self) -> set[str]:
        """Return the hosts whose own swap is remote; they must not lend (A→B→A may deadlock)."""
        return {name(view.client) for view in self.borrowers() if any(True for _ in view.of_kind(Lease))}

    def lending_hosts(self) -> set[str]:
        """Return the hosts that have memory lent out; they must not borrow."""
        return {name(view.client) for view in self.lenders() if any(True for _ in view.of_kind(Export))}

    def host_records(self, now_s: float) -> dict[str, HostRecord]:
        """Return the database's record of every lender, by host."""
        records = {}
        for view in self.lenders():
            offer, host = view.offer, name(view.client)
            if offer is None:
                continue
            usable = self.usable(view, now_s)
            borrows = host in self.borrowing_hosts()
            reason = offer.reason if usable else "not heard of lately" if view.online else "offline"
            records[host] = HostRecord(
                host=host,
                lender=view.client,
                address=offer.portal,
                online=view.online,
                exportable=usable and offer.exportable and not borrows,
                capacity_bytes=offer.capacity_bytes,
                lent_bytes=offer.lent_bytes,
                free_bytes=offer.free_bytes,
                reason="its own swap is remote" if borrows else reason,
            )
        return records

    def lease_records(self) -> dict[str, LeaseRecord]:
        """Return the database's record of every lease, by id."""
        return {
            export.lease: LeaseRecord(
                lease=export.lease,
                host=export.host,
                address=export.portal,
                target=export.target,
                size_bytes=export.size_bytes,
                borrower=export.borrower,
                mode=export.mode,
                phase=export.phase,
            )
            for _, export in self.exports()
        }

    def _of(self, wanted: str) -> list[AgentView]:
        return sorted((v for v in self.agents.values() if role(v.client) == wanted), key=lambda v: v.client)


def _older(new: Message, old: Message | None) -> bool:
    return old is not None and new.instance == old.instance and new.seq < old.seq
