"""The real machine, put together as the agent gets it, on a runner that knows what LVM would say."""

from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from kit.linux_data import lvm_report
from ramshare.borrower.machine.this_machine import this_machine
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.view import NOTHING_HEARD
from ramshare.desk import RefusedError
from ramshare.messages.replies import ErrorCode
from ramshare.settings import BorrowerSettings

pytestmark = pytest.mark.unit


def test_a_volume_at_home_is_looked_at_and_loses_our_last_tag(tmp_path: Path) -> None:
    runner = FakeRunner().on("lvm", "fullreport", ..., stdout=lvm_report("linear")).on("lvchange", ...)
    runner.on("iscsiadm", "--mode", "node", returncode=21, stderr="iscsiadm: No records found")
    machine = this_machine(runner, BorrowerSettings(directory=tmp_path))
    looked = machine.turn("vg0/swap", NOTHING_HEARD)
    assert (looked.step, looked.error, looked.view.leases) == (s.Forget(), "", ())
    assert runner.calls[-1][-3:] == ("--deltag", "ramshare.op=move", "vg0/swap")


def test_a_volume_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    runner = FakeRunner().on("lvm", "fullreport", ..., stdout=lvm_report("linear"))
    runner.on("iscsiadm", "--mode", "node", returncode=21, stderr="iscsiadm: No records found")
    machine = this_machine(runner, BorrowerSettings(directory=tmp_path))
    with pytest.raises(RefusedError, match="`lvs` lists what there is") as refused:
        machine.turn("vg0/nothing", NOTHING_HEARD)
    assert refused.value.code is ErrorCode.UNKNOWN_VOLUME
