"""Every check of a machine, in the order in which its findings are shown."""

from typing import Any

from ramshare.linux.host_checks import (
    clock,
    double_swap,
    kernel,
    lender_lio,
    lender_portal,
    lvm_filters,
    lvm_settings,
    multipath,
    open_iscsi,
    pressure,
    programs,
    swap_layout,
    swap_queue,
)
from ramshare.linux.host_checks.model import Check, Finding, Host
from ramshare.linux.programs import TOOLS

LENDER, BORROWER = frozenset({"lender"}), frozenset({"borrower"})
ALL = frozenset({"monitor", "lender", "manager", "borrower"})

RIGHTS = tuple(
    Check("rights and programs", frozenset({role}), programs.observer(role), programs.judge) for role in TOOLS
)
"""Looked at first: without them others cannot look."""

CHECKS: tuple[Check[Any], ...] = (
    *RIGHTS,
    Check("the lender's address", LENDER, lender_portal.observe, lender_portal.judge, by_tools=True),
    Check("the kernel's target", LENDER, lender_lio.observe, lender_lio.judge, by_tools=True),
    Check("the kernel", BORROWER, kernel.observer(), kernel.judge),
    Check("which disks LVM sees", BORROWER, lvm_filters.observe, lvm_filters.judge, by_tools=True),
    Check("LVM's configuration", BORROWER, lvm_settings.observe, lvm_settings.judge, by_tools=True),
    Check("where swap lies", BORROWER, swap_layout.observe, swap_layout.judge, by_tools=True),
    Check("swap on one device twice", BORROWER, double_swap.observe, double_swap.judge),
    Check("a queue for swap", BORROWER, swap_queue.observe, swap_queue.judge),
    Check("open-iscsi's configuration", BORROWER, open_iscsi.observe, open_iscsi.judge),
    Check("multipath", BORROWER, multipath.observe, multipath.judge, by_tools=True),
    Check("memory pressure", frozenset({"monitor", "lender"}), pressure.observe, pressure.judge),
    Check("the clock", ALL, clock.observer(), clock.judge),
)


def findings(role: str, host: Host, checks: tuple[Check[Any], ...] = CHECKS) -> list[Finding]:
    """Return what works against the agent of `role` on this machine; what stops it comes first."""
    found: list[Finding] = []
    for check in checks:
        if role in check.roles and not (check.by_tools and _lacks_rights(found)):
            found += check.findings(host)
    return sorted(found, key=lambda finding: not finding.blocks)


def _lacks_rights(found: list[Finding]) -> bool:
    return any(finding.blocks and finding.check == RIGHTS[0].name for finding in found)
