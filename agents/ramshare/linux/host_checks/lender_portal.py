"""Whether a lender can serve at the address that it was told to, and at no other."""

from dataclasses import dataclass

from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.portal import Portal, PortalError, difference, told_portal, why_not_free
from ramshare.linux.tgt import served_portals
from ramshare.settings import LenderSettings, load


@dataclass(frozen=True)
class PortalFacts:
    """What was told and what is so."""

    told: Portal | None = None
    problem: str = ""
    """Why what was told is no address."""
    hint: str = ""
    hindrance: str = ""
    """What keeps a new tgtd from the address; only looked at where no tgtd runs."""
    served: frozenset[Portal] | None = None
    """Where the tgtd that the lender would use listens; None: it does not run yet."""
    control_port: int = 0


def observe(host: Host) -> PortalFacts:
    """Read the settings, and try the address; nothing stays open."""
    settings = load(LenderSettings)
    try:
        told = told_portal(settings)
    except PortalError as error:
        return PortalFacts(problem=error.message, hint=error.hint)
    if settings.target != "tgt":
        return PortalFacts(told)  # `lender_lio.py` looks at that one
    served = served_portals(host.runner, port := settings.control_port)
    return PortalFacts(told, hindrance=why_not_free(told) if served is None else "", served=served, control_port=port)


def judge(facts: PortalFacts) -> list[Finding]:
    """Return what is wrong with the address."""
    told = facts.told
    if told is None:
        return [Finding(facts.problem, facts.hint, blocks=True)]
    if facts.hindrance:
        what, _, mend = facts.hindrance.partition(": ")
        return [Finding(what, f"{mend}; RAMSHARE_LENDER_ADDRESS and RAMSHARE_LENDER_PORT choose another", blocks=True)]
    found = []
    if facts.served is not None and (other := difference(told, facts.served)):
        mend = (
            "systemctl disable --now tgt, or give the lender its own tgtd by another RAMSHARE_LENDER_CONTROL_PORT; one "
            "that an earlier lender left ends, when it exports nothing, by "
            f"tgtadm -C {facts.control_port} --lld iscsi --op delete --mode system"
        )
        found.append(Finding(other, mend, blocks=True))
    if told.address.is_loopback:
        found.append(Finding(f"other hosts cannot reach {told}", "set RAMSHARE_LENDER_ADDRESS to one that they can"))
    return found
