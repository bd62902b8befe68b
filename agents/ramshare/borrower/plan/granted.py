"""Whether what the manager granted is what was asked for. Pure; used before anything is written down or logged in to.

The manager checks each lender's grant in the same way (`ramshare.grants`); it may be wrong, or not be the manager.
"""

from collections.abc import Sequence

from ramshare.grants import misfit
from ramshare.messages.base import LEAST_LEASE_BYTES
from ramshare.messages.replies import Grant
from ramshare.messages.requests import BorrowMemory
from ramshare.messages.state import Mode
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
    legs = (1, 2) if need.mode is Mode.PAIR and not need.leg else (need.leg,)
    lenders = {(grant.lender, grant.leg) for grant in grants}
    if len({lender for lender, _ in lenders}) < len(lenders):
        return "one lender in both legs"
    if strays := [grant.lease for grant in grants if grant.leg not in legs]:
        return f"{strays[0]} for a leg that was not asked for"
    return next(filter(None, (_wrong_size([x for x in grants if x.leg == leg], need) for leg in legs)), "")


def _wrong_size(grants: Sequence[Grant], need: BorrowMemory) -> str:
    """Return how much these hold if it is not what was asked for, of a pair for each leg."""
    payload_bytes = sum(grant.size_bytes - need.overhead_bytes for grant in grants)
    least_bytes = 1 if need.at_most else need.size_bytes
    if not least_bytes <= payload_bytes < need.size_bytes + need.grain_bytes + LEAST_LEASE_BYTES:
        return f"room for {payload_bytes} bytes, not {need.size_bytes}"
    return ""
