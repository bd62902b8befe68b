"""LVM on hosts whose lvm.conf we did not write: what it prints is read as what it means, whatever is set there."""

import json
import re
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from kit.linux_data import DATA, HOSTILE_LVM_CONF, lvm_report
from ramshare.errors import RamshareError
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_config import PINNED
from ramshare.linux.lvm_report import LvmReportError, parse_report
from ramshare.linux.run import CommandError, SystemRunner, find_tool

pytestmark = pytest.mark.unit

MIB = 1024 * 1024


@pytest.mark.parametrize("settings", ["binary_values", "list_separator"])
def test_whatever_a_report_is_written_like_it_says_the_same(settings: str) -> None:
    assert parse_report(lvm_report(settings)) == parse_report(lvm_report("at_lender"))


def test_a_device_that_is_there_is_not_missing_when_yes_and_no_are_numbers() -> None:
    words = lvm_report("lender_dead")
    numbers = words.replace('"pv_missing":""', '"pv_missing":"0"').replace('"pv_missing":"missing"', '"pv_missing":"1"')
    assert numbers != words
    assert parse_report(numbers) == parse_report(words)


def test_a_missing_device_is_known_by_its_old_name_too() -> None:
    spaced = lvm_report("lender_dead").replace("[unknown]", "unknown device")
    assert parse_report(spaced) == parse_report(lvm_report("lender_dead"))


def test_empty_columns_may_be_left_out() -> None:
    compact = re.sub(r', "\w+":""', "", lvm_report("at_lender"))
    assert compact != lvm_report("at_lender")
    assert parse_report(compact) == parse_report(lvm_report("at_lender"))


def test_lines_that_lvm_prints_inside_its_report_are_left_out_and_its_complaints_kept() -> None:
    text = (DATA / "lvm/other_group_damaged.txt").read_text()
    said = "  WARNING: Checksum error on /dev/loop2.\n  WARNING: Checksum error on /dev/loop2.\n  WARNING: repair it.\n"
    state = parse_report(text, said)
    assert state.existing("vg0/swap").pvs == {"/dev/loop0": 40 * MIB}
    assert state.complaints == "WARNING: Checksum error on /dev/loop2.; WARNING: repair it."
    with pytest.raises(RamshareError, match=r"vg0/nothere is gone .*repair it"):
        state.existing("vg0/nothere")


@pytest.mark.parametrize(
    "message",
    [
        "  Retrying metadata scan.",
        "  WARNING: Device /dev/sdz has size of 1 sectors which is smaller than corresponding PV size of 2 sectors.",
        "  VG name vg1 is used by VGs a and b.",
        "fullreport: Reading VG [unknown]",
    ],
)
def test_a_message_may_stand_between_any_two_lines(message: str) -> None:
    text = lvm_report("at_lender")
    lines = text.splitlines()
    for at in range(len(lines) + 1):
        assert parse_report("\n".join([*lines[:at], message, *lines[at:]])) == parse_report(text)


def test_a_backslash_in_a_name_of_somebody_elses_does_not_stop_us() -> None:
    text = lvm_report("at_lender").replace("/dev/sda", r"/dev/mapper/a\x20b")
    assert parse_report(text).pv(r"/dev/mapper/a\x20b") is not None


def test_a_group_that_makes_no_sense_is_left_out_and_named() -> None:
    document = json.loads(lvm_report("at_lender"))
    other = json.loads(lvm_report("linear"))["report"][0]
    other["vg"][0] |= {"vg_name": "other", "vg_size": "many"}
    document["report"].insert(0, other)
    state = parse_report(json.dumps(document))
    assert state == parse_report(lvm_report("at_lender"))
    assert "volume group other" in state.complaints


def test_another_groups_damage_that_makes_lvm_end_with_an_error_does_not_stop_us() -> None:
    report = ("lvm", "fullreport", ...)
    text = (DATA / "lvm/other_group_damaged.txt").read_text()
    runner = FakeRunner().on(*report, stdout=text, stderr="  Skipping volume group other", returncode=5)
    assert Lvm(runner).report().complaints == "Skipping volume group other"
    with pytest.raises(CommandError, match="Skipping volume group other"):
        Lvm(runner).report("other")
    runner.on(*report, stdout='{"report": [\n]}', stderr="  No disks", returncode=5)
    with pytest.raises(LvmReportError, match="No disks"):
        Lvm(runner).report()


def test_every_command_of_lvms_carries_the_pins() -> None:
    runner = FakeRunner().on("lvm", "fullreport", ..., stdout=lvm_report("joined")).on("lvchange", ...)
    lvm = Lvm(runner, udev=True)
    lvm.report()
    lvm.activate("vg0/swap")
    assert [PINNED in call[call.index("--config") + 1] for call in runner.calls] == [True, True]


@pytest.mark.skipif(find_tool("lvm") is None, reason="needs lvm2")
def test_the_real_lvm_takes_every_pin_whatever_its_own_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lvm.conf").write_text(HOSTILE_LVM_CONF)
    monkeypatch.setenv("LVM_SYSTEM_DIR", str(tmp_path))
    pins = dict(pin.split("=", 1) for pin in PINNED.split(" ") if "=" in pin) | {"log/prefix": '"  "'}
    printed = SystemRunner().run(["lvm", "lvmconfig", "--config", PINNED, "--mergedconfig", *pins]).stdout
    found = dict(line.strip().split("=", 1) for line in printed.splitlines() if "=" in line)
    assert found == {key.partition("/")[2]: value for key, value in pins.items()}
