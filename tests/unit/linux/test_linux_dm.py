"""dmsetup: what is suspended, and tables that exist or do not."""

import pytest

from kit.fakes import FakeRunner
from kit.linux_data import DM_INFO
from ramshare.linux.dm import DmDevice, Dmsetup, dm_name
from ramshare.linux.run import CommandError

pytestmark = pytest.mark.unit

TABLE = "0 131072 linear 7:0 2048"


def test_suspended_devices_are_found() -> None:
    tool = Dmsetup(FakeRunner().on("dmsetup", "info", ..., stdout=DM_INFO))
    assert [device.name for device in tool.devices()] == ["vg0-swap", "vg0-swap_rimage_0", "slow1"]
    [device] = tool.suspended()
    assert (device.name, device.major, device.minor, device.open_count) == ("vg0-swap", 254, 0, 2)


def test_no_device_at_all_is_an_empty_list() -> None:
    assert Dmsetup(FakeRunner().on("dmsetup", "info", ..., stdout="No devices found\n")).devices() == []


def test_a_table_is_read_and_a_missing_device_has_none() -> None:
    runner = FakeRunner().on("dmsetup", "table", "vg0-swap", stdout=TABLE + "\n")
    runner.on("dmsetup", "status", "nope", returncode=1, stderr="Device does not exist.\nCommand failed.\n")
    tool = Dmsetup(runner)
    assert tool.table("vg0-swap") == TABLE
    assert tool.status("nope") is None


def test_a_driver_that_does_not_answer_is_an_error_and_not_a_missing_device() -> None:
    runner = FakeRunner().on("dmsetup", "table", ..., returncode=1, stderr="/dev/mapper/control: open failed")
    with pytest.raises(CommandError):
        Dmsetup(runner).table("vg0-swap")


def test_a_table_is_replaced_by_suspend_load_resume() -> None:
    runner = FakeRunner().on("dmsetup", ...)
    tool = Dmsetup(runner)
    tool.suspend("vg0-swap", flush=False)
    tool.load("vg0-swap", TABLE)
    tool.resume("vg0-swap")
    assert runner.calls == [
        ("dmsetup", "suspend", "--nolockfs", "--noflush", "vg0-swap"),
        ("dmsetup", "load", "vg0-swap"),
        ("dmsetup", "resume", "vg0-swap"),
    ]
    assert runner.stdins[1] == TABLE


def test_removing_what_is_gone_is_success() -> None:
    gone = "device-mapper: remove ioctl on x  failed: No such device or address\nCommand failed."
    Dmsetup(FakeRunner().on("dmsetup", "remove", "x", returncode=1, stderr=gone)).remove("x")


def test_names_double_their_hyphens() -> None:
    assert dm_name("my-vg", "swap-1") == "my--vg-swap--1"
    assert DmDevice("a", "", 1, 2, False, 0).suspended is False
