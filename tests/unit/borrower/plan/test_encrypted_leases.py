"""LVM gets the encrypted device over a lease, never the disk below it, unless the volume was borrowed for without."""

from dataclasses import replace

import pytest

from kit.linux_data import lvm_report
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.observe import observe
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.tags import LeaseTag, encrypt_tags, goal_tags
from ramshare.borrower.plan.view import Goal
from ramshare.linux.crypt_names import mapper_of
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm_report import parse_report
from ramshare.linux.lvm_state import LvmState
from ramshare.messages.names import target_of
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

SESSION = Session(1, target_of("hosta", "l1"), "10.0.0.1:3260", "LOGGED_IN", "/dev/sdc", 5)
ENCRYPTED = replace(SESSION, mapper=mapper_of("l1"))


def state(*, encrypt: bool = True) -> LvmState:
    """Return a volume at home for which there is one lease that no group knows yet."""
    found = parse_report(lvm_report("linear"))
    lv = found.existing("vg0/swap")
    tags = {*goal_tags(Goal.ATTACHED, Mode.MIRROR), *encrypt_tags(encrypt), str(LeaseTag("l1", "hosta", lv.size_bytes))}
    return replace(found, lvs=(replace(lv, tags=frozenset(tags)),))


def step(session: Session, *, encrypt: bool = True) -> s.Step:
    view = observe("vg0/swap", state(encrypt=encrypt), [session], ["l1"])
    assert view is not None
    return next_step(view)


def test_the_encrypted_device_joins_the_group() -> None:
    assert step(ENCRYPTED) == s.Join("l1", mapper_of("l1"))


def test_a_disk_that_is_not_encrypted_yet_is_logged_in_to_again_for_that_and_never_joins() -> None:
    assert step(SESSION) == s.Login("l1")


def test_without_encryption_the_disk_itself_joins() -> None:
    assert step(SESSION, encrypt=False) == s.Join("l1", "/dev/sdc")


def test_an_encrypted_device_in_the_group_that_lost_its_tag_is_no_local_disk() -> None:
    found = state()
    disk = found.disks_of("vg0")[0]
    found = replace(found, pvs=(*found.pvs, replace(disk, name=mapper_of("l1"), tags=frozenset(), uuid="other")))
    view = observe("vg0/swap", found, [ENCRYPTED], ["l1"])
    assert view is not None
    assert mapper_of("l1") not in (*view.local_devices, *view.way_home)
