"""Every check of a host, in the order in which its findings are shown."""

from typing import Any

from ramshare.linux.host_checks import double_swap, lender_portal, lvm_filters, lvm_settings, multipath, open_iscsi
from ramshare.linux.host_checks.model import Check, Finding, Host

LENDER, BORROWER = frozenset({"lender"}), frozenset({"borrower"})

CHECKS: tuple[Check[Any], ...] = (
    Check("the lender's address", LENDER, lender_portal.observe, lender_portal.judge),
    Check("which disks LVM sees", BORROWER, lvm_filters.observe, lvm_filters.judge),
    Check("LVM's configuration", BORROWER, lvm_settings.observe, lvm_settings.judge),
    Check("swap on one device twice", BORROWER, double_swap.observe, double_swap.judge),
    Check("open-iscsi's configuration", BORROWER, open_iscsi.observe, open_iscsi.judge),
    Check("multipath", BORROWER, multipath.observe, multipath.judge),
)


def findings(role: str, host: Host, checks: tuple[Check[Any], ...] = CHECKS) -> list[Finding]:
    """Return what works against the agent of `role` on this host; what stops it comes first."""
    found = [finding for check in checks if role in check.roles for finding in check.findings(host)]
    return sorted(found, key=lambda finding: not finding.blocks)
