"""Watches that no byte is lent twice: what each lender says it has lent, after every message, against its limit."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ramshare.messages.state import Export


@dataclass
class Ledger:
    """Keeps the first sentence about each thing that was lent twice."""

    limit_bytes: int
    wrong: dict[str, str] = field(default_factory=dict)
    returned: set[str] = field(default_factory=set)
    """Leases that their lenders had back before a broker showed its old state again: those topics lend nothing."""

    def take(self, known: Iterable[tuple[str, Export]]) -> None:
        """Look at every export that is known now, with the client whose topic tells it."""
        exports = [(client, export) for client, export in known if export.lease not in self.returned]
        for lender in {client for client, _ in exports}:
            lent = sum(export.size_bytes for client, export in exports if client == lender)
            if lent > self.limit_bytes:
                self.wrong.setdefault(lender, f"{lender} lends {lent} of {self.limit_bytes} bytes")
        seen: dict[str, str] = {}
        for client, export in exports:
            if seen.setdefault(export.lease, client) != client:
                self.wrong.setdefault(export.lease, f"lease {export.lease} is of {client} and of {seen[export.lease]}")
