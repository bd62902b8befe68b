"""What a machine itself lacks: rights, programs, kernel, pressure, clock, room for a mirror; facts in, findings out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.fakes import FakeRunner
from ramshare.errors import ExitCode
from ramshare.linux.host_checks import clock, kernel, pressure, programs, swap_layout
from ramshare.linux.host_checks.clock import Clock
from ramshare.linux.host_checks.kernel import MODULES, Kernel
from ramshare.linux.host_checks.model import Check, Finding, Host
from ramshare.linux.host_checks.pressure import Pressure
from ramshare.linux.host_checks.programs import Programs
from ramshare.linux.host_checks.registry import CHECKS, RIGHTS, findings
from ramshare.linux.host_checks.swap_layout import SwapLayout, SwapVolume
from ramshare.linux.programs import TOOLS

pytestmark = pytest.mark.unit

MIB = 1 << 20
ALL_MODULES = frozenset(MODULES)
DEBIAN = "6.1.0-37-amd64"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(FakeRunner(), tmp_path)


def write(host: Host, path: str, text: str = "") -> None:
    file = host.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


# Rights and programs


def test_missing_programs_are_one_line_with_the_packages_that_bring_them() -> None:
    [found] = programs.judge(Programs("borrower", ("iscsiadm", "iscsid", "lvm")))
    assert (found.what, found.mend) == ("not installed: iscsiadm, iscsid, lvm", "apt-get install lvm2 open-iscsi")
    assert (found.blocks, found.exit_code) == (True, ExitCode.MISSING_PART)


def test_without_root_a_lender_cannot_lend() -> None:
    [found] = programs.judge(Programs("lender", root=False))
    assert (found.what, found.exit_code) == ("a lender needs root", ExitCode.MISSING_PART)


def test_what_looks_by_programs_is_left_out_where_they_are_missing_and_all_else_is_looked_at(host: Host) -> None:
    rights = Check(
        RIGHTS[0].name, frozenset({"lender"}), lambda _: None, lambda _: [Finding("none", "get", blocks=True)]
    )
    by_tools = Check("t", frozenset({"lender"}), lambda _: None, lambda _: [Finding("by tools", "")], by_tools=True)
    plain = Check("p", frozenset({"lender"}), lambda _: None, lambda _: [Finding("plain", "")])
    assert [found.what for found in findings("lender", host, (rights, by_tools, plain))] == ["none", "plain"]
    assert [found.what for found in findings("lender", host, (by_tools, plain))] == ["by tools", "plain"]


def test_every_role_with_programs_has_them_looked_for_first() -> None:
    for role in TOOLS:
        assert next(check for check in CHECKS if role in check.roles) in RIGHTS


# The kernel


@pytest.mark.parametrize(
    "release", [DEBIAN, "6.12.27-amd64", "5.15.0-139-generic", "6.6.1", "6.9.0", "5.10.0-35-amd64"]
)
def test_a_kernel_without_known_faults_is_not_spoken_of(release: str) -> None:
    assert kernel.judge(Kernel(release, ALL_MODULES)) == []


@pytest.mark.parametrize("release", ["6.7.0", "6.7.12-amd64", "6.8.0-60-generic", "6.8"])
def test_a_kernel_whose_mirrors_hang_is_named_and_stops_nobody_who_moves(release: str) -> None:
    [found] = kernel.judge(Kernel(release, ALL_MODULES))
    assert "may hang for good when a mirror is taken apart" in found.what
    assert "--mode move" in found.mend
    assert not found.blocks


@pytest.mark.parametrize("release", ["4.19.0-27-amd64", "5.4.0-216-generic", "5.9.16"])
def test_a_kernel_that_nobody_tried_is_told(release: str) -> None:
    assert "older than anything" in kernel.judge(Kernel(release, ALL_MODULES))[0].what


@pytest.mark.parametrize("release", ["", "custom", "6", "६.१", "9" * 40 + ".1"])
def test_a_release_that_nobody_can_read_is_no_fault(release: str) -> None:
    assert kernel.judge(Kernel(release, ALL_MODULES)) == []


@pytest.mark.parametrize(
    ("module", "stops"), [("dm_mirror", True), ("iscsi_tcp", True), ("dm_raid", False), ("loop", False)]
)
def test_a_missing_module_is_told_with_what_cannot_be_done(module: str, stops: bool) -> None:
    [found] = kernel.judge(Kernel(DEBIAN, ALL_MODULES - {module}))
    assert f"no module {module}: it cannot {MODULES[module]}" in found.what
    assert (found.blocks, found.exit_code) == (stops, ExitCode.MISSING_PART)


def test_a_kernel_that_was_replaced_on_the_disk_needs_a_reboot() -> None:
    [found] = kernel.judge(Kernel(DEBIAN, None))
    assert found.blocks
    assert found.mend == "reboot into the kernel that is installed"


@given(st.text(), st.sets(st.sampled_from(sorted(MODULES))))
def test_whatever_a_kernel_calls_itself_it_is_judged(release: str, modules: set[str]) -> None:
    missing = {f.what for f in kernel.judge(Kernel(release, frozenset(modules))) if "no module" in f.what}
    assert len(missing) == len(MODULES) - len(modules)


def test_modules_are_found_loaded_built_in_or_on_the_disk(host: Host) -> None:
    write(host, f"lib/modules/{DEBIAN}/modules.dep", "kernel/drivers/md/dm-raid.ko.xz: kernel/drivers/md/raid1.ko.xz\n")
    write(host, f"lib/modules/{DEBIAN}/modules.builtin", "kernel/drivers/block/loop.ko\n")
    write(host, "sys/module/iscsi_tcp/refcnt", "0\n")
    found = kernel.observer(lambda: DEBIAN)(host).modules
    assert found == frozenset({"dm_raid", "loop", "iscsi_tcp"})


def test_without_a_directory_of_modules_only_what_is_loaded_counts(host: Host) -> None:
    assert kernel.observer(lambda: DEBIAN)(host).modules is None
    for module in MODULES:
        write(host, f"sys/module/{module}/refcnt")
    assert kernel.observer(lambda: DEBIAN)(host).modules == ALL_MODULES


# Memory pressure


@pytest.mark.parametrize(
    ("facts", "stops"),
    [(Pressure(True, True), []), (Pressure(True, False), [False]), (Pressure(False, True), [True])],
)
def test_what_the_kernel_does_not_tell_is_named(facts: Pressure, stops: list[bool]) -> None:
    assert [found.blocks for found in pressure.judge(facts)] == stops


def test_a_kernel_without_pressure_is_told_how_to_switch_it_on(host: Host) -> None:
    write(host, "proc/meminfo", "MemTotal: 1 kB\nMemAvailable: 1 kB\n")
    [found] = pressure.judge(pressure.observe(host))
    assert "psi=1" in found.mend
    write(host, "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    assert pressure.judge(pressure.observe(host)) == []


# The clock


def test_a_clock_that_nobody_keeps_right_is_told() -> None:
    [found] = clock.judge(Clock(synchronised=False))
    assert "timedatectl set-ntp true" in found.mend
    assert not found.blocks
    assert clock.judge(Clock(synchronised=True)) == []


def test_the_kernel_can_be_asked_about_its_clock() -> None:
    assert isinstance(clock.kernel_clock(), Clock)


# Where swap lies

SWAP = SwapVolume("vg0/swap", "linear", ("/dev/sda2",), 0, 4 * MIB)


def test_a_volume_without_an_extent_to_spare_can_only_be_moved() -> None:
    [found] = swap_layout.judge(SwapLayout((SWAP,), groups=1))
    assert found.what == "/dev/sda2 has no room for the extent (4 MiB) that a mirror needs beside vg0/swap"
    assert "lvreduce -l -1 vg0/swap" in found.mend
    assert not found.blocks


@pytest.mark.parametrize(
    "volume",
    [
        SwapVolume("vg0/swap", "linear", ("/dev/sda2",), 4 * MIB, 4 * MIB),
        SwapVolume("vg0/swap", "raid,raid1", ("/dev/sda2", "/dev/sdb"), 0, 4 * MIB),
    ],
)
def test_a_volume_with_room_or_a_mirror_that_stands_is_fine(volume: SwapVolume) -> None:
    assert swap_layout.judge(SwapLayout((volume,), groups=1)) == []


def test_swap_that_lies_elsewhere_is_told_and_where_it_should_lie() -> None:
    [found] = swap_layout.judge(SwapLayout(elsewhere=("/swapfile",), groups=1))
    assert "/swapfile lies on no logical volume" in found.what


def test_a_machine_without_a_volume_group_is_told_how_to_get_one() -> None:
    [found] = swap_layout.judge(SwapLayout())
    assert "vgcreate" in found.mend


def test_every_finding_names_a_command() -> None:
    worst = [
        *programs.judge(Programs("borrower", TOOLS["borrower"], root=False)),
        *kernel.judge(Kernel("6.8.0", frozenset())),
        *kernel.judge(Kernel("4.4.0", None)),
        *pressure.judge(Pressure(False, False)),
        *clock.judge(Clock(synchronised=False)),
        *swap_layout.judge(SwapLayout((SWAP,), ("/swapfile",), 0)),
    ]
    assert [found for found in worst if not found.what or not found.mend or "\n" in str(found)] == []
