"""Whether a grant can be true: a lease of the lender that was asked, at that lender's own place. Pure.

A lender that is in somebody else's hands may answer anything: another lender's target, a portal of its choice, a
pebibyte, or a byte. The manager relays no such grant, and the borrower logs in to none, whoever relayed it.
"""

import ipaddress

from ramshare.messages.names import target_of
from ramshare.messages.replies import Grant
from ramshare.topics import name, role


def misfit(grant: Grant) -> str:
    """Return what a grant says that no honest lender would, empty if nothing.

    The name of a target follows from its lender and its lease, so a grant leads to nobody else's lease.
    """
    if role(grant.lender) != "lender":
        return f"{grant.lender} is no lender"
    if grant.target != target_of(name(grant.lender), grant.lease):
        return f"{grant.target} is not how {grant.lender} calls {grant.lease}"
    return _nowhere(grant.portal)


def _nowhere(portal: str) -> str:
    """Return why nobody else's lender can be at a portal, empty if one can."""
    host = portal.rpartition(":")[0]
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""  # a name: who resolves it sees
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        return f"{portal} is no other host's address"
    return ""
