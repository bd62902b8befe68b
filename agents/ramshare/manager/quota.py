"""How much one borrower may have, so that no account can take all that the cluster lends. Pure; used by the manager."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """The most that each borrower may hold, and in how many leases; see `ManagerSettings`."""

    size_bytes: int
    leases: int

    def exceeded(self, borrower: str, held: Collection[int], more: Collection[int]) -> str:
        """Return why `borrower`, that holds leases of these sizes, may not have `more`; empty if it may."""
        if not more:
            return ""
        if len(held) + len(more) > self.leases:
            limit = f"at most {self.leases} leases at a time (RAMSHARE_MANAGER_BORROWER_LIMIT_LEASES)"
        elif sum(held) + sum(more) > self.size_bytes:
            limit = f"at most {_mib(self.size_bytes)} at a time (RAMSHARE_MANAGER_BORROWER_LIMIT_BYTES)"
        else:
            return ""
        has = f"{len(held)} lease(s) of {_mib(sum(held))}"
        return f"{borrower} has {has} and asks for {len(more)} of {_mib(sum(more))} more; a borrower may have {limit}"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB"
