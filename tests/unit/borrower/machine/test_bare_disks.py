"""LVM does not look at leased disks, but at those of leases that are meant to be unencrypted."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from kit.linux_data import lvm_report
from ramshare.borrower.machine.bare_disks import BareDisks
from ramshare.borrower.plan.tags import PV_ENCRYPTED, LeaseTag, encrypt_tags, pv_tag, unencrypted
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm_filter import STABLE_IDS
from ramshare.linux.lvm_report import parse_report
from ramshare.linux.lvm_state import LvmState
from ramshare.messages.names import target_of

pytestmark = pytest.mark.unit

SESSIONS = [
    Session(1, target_of("hosta", "l1"), "10.0.0.1:3260", "LOGGED_IN", "/dev/sdb", 5),
    Session(2, target_of("hostb", "l2"), "10.0.0.2:3260", "LOGGED_IN", "/dev/sdc", 5),
    Session(3, "iqn.2001-04.com.example:san", "10.0.0.3:3260", "LOGGED_IN", "/dev/sdd", 5),
    Session(4, target_of("hostb", "l3"), "10.0.0.2:3260", "LOGGED_IN", None, 5),
]


def refusing(disks: Collection[str]) -> tuple[str, ...]:
    return tuple(disks)


def state(*pv_tags: Collection[str], lease: str = "", encrypt: bool = True) -> LvmState:
    """Return a group with local disk, leases with these tags, and a volume that is meant to get `lease`."""
    found = parse_report(lvm_report("linear"))
    lv, disk = found.existing("vg0/swap"), found.disks_of("vg0")[0]
    tags = {*encrypt_tags(encrypt), *([str(LeaseTag(lease, "hosta", 100))] if lease else [])}
    pvs = [replace(disk, name=f"/dev/{n}", tags=frozenset(tags)) for n, tags in enumerate(pv_tags)]
    return replace(found, lvs=(replace(lv, tags=frozenset(tags)),), pvs=(disk, *pvs))


def test_every_leased_disk_is_hidden_and_nobody_elses() -> None:
    assert BareDisks(lambda: SESSIONS, refusing).hidden() == (*STABLE_IDS, "/dev/sdb", "/dev/sdc")
    assert BareDisks(lambda: SESSIONS[2:3], refusing).hidden() == ()


def test_what_is_meant_to_be_unencrypted_is_shown_and_asked_for_once_more() -> None:
    bare = BareDisks(lambda: SESSIONS, refusing)
    assert bare.show(frozenset({"l2"}))
    assert not bare.show(frozenset({"l2"}))
    assert bare.hidden() == ("/dev/sdb",)
    assert not bare.show(frozenset())
    assert "/dev/sdc" in bare.hidden()


def test_tags_say_which_leases_are_unencrypted() -> None:
    joined = state({pv_tag("l1")}, {pv_tag("l2"), PV_ENCRYPTED})
    assert unencrypted(joined) == {"l1"}
    assert unencrypted(state(lease="l3", encrypt=False)) == {"l3"}
    assert unencrypted(state(lease="l3")) == frozenset()
    both = state({pv_tag("l3"), PV_ENCRYPTED}, lease="l3", encrypt=False)
    assert unencrypted(both) == frozenset(), "a lease that joined encrypted stays so, whatever is meant for new ones"
