"""Multipath must leave leased disks alone; whether it does is read from what it says itself."""

import subprocess
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from kit.linux_data import MULTIPATH_DEFAULT
from ramshare.linux.host_checks.model import Host
from ramshare.linux.host_checks.multipath import MEND, MultipathFacts, judge, leaves_out, observe

pytestmark = pytest.mark.unit

OURS = (Path(__file__).parents[4] / "agents/multipath/ramshare.conf").read_text()


def config(*more: str, find: str = "strict") -> str:
    return MULTIPATH_DEFAULT.replace('find_multipaths "strict"', f'find_multipaths "{find}"') + "\n".join(more)


def section(name: str, *lines: str) -> str:
    return "\n".join((f"{name} {{", *lines, "}", ""))


def device(vendor: str, product: str) -> str:
    return f'\tdevice {{\n\t\tvendor "{vendor}"\n\t\tproduct "{product}"\n\t}}'


@pytest.mark.parametrize("find", ["no", "off", "greedy"])
def test_where_single_paths_are_mapped_no_lease_can_be_used(find: str) -> None:
    (found,) = judge(MultipathFacts(config(find=find)))
    assert found.blocks
    assert f"find_multipaths {find}" in found.what
    assert found.mend == MEND


@pytest.mark.parametrize("find", ["yes", "on", "strict", "smart"])
def test_elsewhere_it_is_told_and_stops_nothing_for_every_lease_has_a_name_of_its_own(find: str) -> None:
    (found,) = judge(MultipathFacts(config(find=find)))
    assert not found.blocks


@pytest.mark.parametrize("find", ["no", "greedy", "yes", "strict", "smart"])
def test_with_our_file_nothing_is_found(find: str) -> None:
    assert judge(MultipathFacts(config(OURS, find=find))) == []


def test_the_command_that_mends_it_writes_what_our_file_says_and_has_leases_forgotten(tmp_path: Path) -> None:
    """LVM refuses a disk of which multipath remembers that it once mapped it."""
    (tmp_path / "wwids").write_text("# Valid WWIDs:\n/3600140512/\n/3672616d0967/\n")
    command = MEND.replace("/etc/multipath", str(tmp_path)).replace("multipathd reconfigure", "true")
    subprocess.run(["sh", "-c", command], check=True)
    written = (tmp_path / "conf.d/ramshare.conf").read_text().split()
    assert written == [word for line in OURS.splitlines() if not line.startswith("#") for word in line.split()]
    assert (tmp_path / "wwids").read_text() == "# Valid WWIDs:\n/3600140512/\n"


@pytest.mark.parametrize(
    ("lines", "out"),
    [
        (section("blacklist", '\tdevnode "^sd[a-z]+"'), True),
        (section("blacklist", '\tdevnode "^sd[a-c]$"'), False),
        (section("blacklist", '\tdevnode "^sd[q-z]"'), False),
        (section("blacklist", "\tdevnode .*"), True),
        (section("blacklist", '\tdevnode "!^dasd"'), True),
        (section("blacklist", '\tprotocol "scsi:iscsi"'), True),
        (section("blacklist", '\tprotocol "scsi:fcp"'), False),
        (section("blacklist", '\twwid "^3672616d"'), True),
        (section("blacklist", '\twwid "^36001405"'), False),
        (section("blacklist", '\twwid ".*"'), True),
        (section("blacklist", '\twwid ".*"') + section("blacklist_exceptions", '\twwid "^36001405"'), True),
        (section("blacklist", '\twwid ".*"') + section("blacklist_exceptions", '\twwid "^36"'), False),
        (section("blacklist", device(".*", ".*")), True),
        (section("blacklist", device("IET", "VIRTUAL-DISK")), False),
        (section("blacklist", device(".*", ".*")) + section("blacklist_exceptions", device("RAM", "L")), False),
        (section("blacklist", device(".*", ".*")) + section("blacklist_exceptions", device("DGC", ".*")), True),
        (OURS + section("blacklist_exceptions", device(".*", ".*")), True),
        (section("blacklist", '\twwid "("'), False),
        (section("blacklist", '\t# wwid ".*"', '\t! wwid ".*"'), False),
        (section("blacklist", '\twwid ".*" # all'), True),
    ],
)
def test_other_peoples_ways_to_leave_disks_out_are_understood(lines: str, out: bool) -> None:
    assert leaves_out(config(lines)) is out


def test_where_there_is_no_multipath_nothing_is_asked(tmp_path: Path) -> None:
    assert judge(observe(Host(FakeRunner(), tmp_path))) == []


def test_a_daemon_that_runs_is_asked_what_it_goes_by_and_none_is_started_for_it(tmp_path: Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/multipath").touch()
    host = Host(FakeRunner().on("multipath", "-t", stdout=config(OURS)), tmp_path)
    assert judge(observe(host)) == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run/multipathd.pid").touch()
    running = FakeRunner().on("multipathd", "show", "config", stdout=config(find="greedy"))
    assert [found.blocks for found in judge(observe(Host(running, tmp_path)))] == [True]
    gone = FakeRunner().on("multipathd", ..., returncode=1).on("multipath", "-t", stdout=config(OURS))
    assert judge(observe(Host(gone, tmp_path))) == []
