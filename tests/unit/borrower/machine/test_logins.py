"""What the borrower's iSCSI side forgets with a lease."""

from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.messages.names import target_of

pytestmark = pytest.mark.unit


def test_whoever_lists_disks_hears_of_every_target_that_is_no_more_and_of_no_other(tmp_path: Path) -> None:
    targets = [target_of("hosta", "l1"), target_of("hostb", "l2"), "iqn.2001-04.com.example:san"]
    for number, iqn in enumerate(targets):
        (tmp_path / iqn / f"10.0.0.{number},3260,1").mkdir(parents=True)
    left: list[str] = []
    logins = LeaseSessions(FakeRunner().on("iscsiadm", ...), 90.0, left=left.append, nodes=tmp_path)
    logins.logout("l1")
    assert left == targets[:1]
    logins.forget("l2")
    assert left == targets[:2]
