"""Whether what the manager granted is what was asked for. Pure; used before anything is written down or logged in to.

The manager checks each lender's grant in the same way (`ramshare.grants`); it may be wrong, or not be the manager.
"""

from collections.abc import Sequence

from ramshare.grants import misfit
from ramshare.messages.base import LEAST_LEASE_BYTES
from ramshare.messages.replies import Grant
from ramshare.messages.requests import BorrowMemory
from ramshare.topics import name


def not_as_needed(grants: Sequence[Grant], need: BorrowMemory, own_host: str) -> str:
    """Return how grants differ from what was asked for, empty if they do not."""
    for grant in grants:
        if name(grant.lender) == own_host:
            return f"{grant.lease} of this host's own lender"
        if grant.lender in need.exclude:
            return f"{grant.lease} of {grant.lender}, which was not to be asked"
        if grant.size_bytes <= need.overhead_bytes:
            return f"{grant.lease} of {grant.size_bytes} bytes, which holds nothing beside LVM's own"
        if why := misfit(grant):
            return f"{grant.lease}: {why}"
    if len({grant.lease for grant in grants}) < len(grants):
        return "one lease twice"
    payload_bytes = sum(grant.size_bytes - need.overhead_bytes for grant in grants)
    least_bytes = 1 if need.at_most else need.size_bytes
    if not least_bytes <= payload_bytes < need.size_bytes + need.grain_bytes + LEAST_LEASE_BYTES:
        return f"room for {payload_bytes} bytes, not {need.size_bytes}"
    return ""
