"""What an lvm.conf or iscsid.conf that we did not write does to a borrower is found before the first lease."""

from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.host_checks import lvm_filters, lvm_settings, open_iscsi
from ramshare.linux.host_checks.lvm_filters import LvmSight, lets_in
from ramshare.linux.host_checks.lvm_settings import LvmSettings, parse_configuration
from ramshare.linux.host_checks.model import Host
from ramshare.linux.host_checks.registry import CHECKS, findings
from ramshare.linux.run import SystemRunner, find_tool

pytestmark = pytest.mark.unit

HOST_WIDE = 'global_filter=["r|^/dev/disk/by-id/.*672616d|", "r|^/dev/disk/by-path/.*iqn.2026-11.io.ramshare:|"]'
"""What `--check` proposes: the host's own LVM commands look at no leased disk."""
DEBIANS = """\
devices {
	dir="/dev"
	scan=["/dev"]
	use_devicesfile=0
	devicesfile="system.devices"
	search_for_devnames="auto"
	filter=["a|.*|"]
	global_filter=["a|.*|"]
}
global {
	test=0
	activation=1
	metadata_read_only=0
}
activation {
	raid_fault_policy="warn"
	snapshot_autoextend_threshold=100
	thin_pool_autoextend_threshold=100
	monitoring=1
}
"""
OF_FILES = tuple(check for check in CHECKS if check.judge in {m.judge for m in (lvm_filters, lvm_settings, open_iscsi)})
DEFAULTS = DEBIANS.replace('global_filter=["a|.*|"]', HOST_WIDE)
GROUP, UUID = "p9GszyjCbSnDqc0ET0qjCnxwVpYlwAr9", "p9Gszy-jCbS-nDqc-0ET0-qjCn-xwVp-YlwAr9"


def configuration(**changed: str) -> dict[str, str]:
    found = parse_configuration(DEFAULTS)
    return found | {key.replace("__", "/"): value for key, value in changed.items()}


def said(settings: dict[str, str]) -> list[str]:
    return [str(f) for f in lvm_settings.judge(LvmSettings(settings))]


def hidden(taken: tuple[str, ...] = (), **changed: str) -> list[str]:
    return [str(f) for f in lvm_filters.judge(LvmSight(configuration(**changed), frozenset(taken)))]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    runner = FakeRunner().on("lvm", "lvmconfig", ..., stdout=DEFAULTS).on("lvm", "vgs", ..., stdout=f"  {UUID}\n")
    dm = tmp_path / "sys/block/dm-0/dm"
    dm.mkdir(parents=True)
    (dm / "uuid").write_text(f"LVM-{GROUP}XWuOYJ6ttMzDOvJzO2MqLfmsXeXSlxPd\n")
    (dm / "name").write_text("vg0-swap\n")
    (tmp_path / "etc/iscsi").mkdir(parents=True)
    (tmp_path / "etc/iscsi/initiatorname.iscsi").write_text("InitiatorName=iqn.1993-08.org.debian:01:abc\n")
    return Host(runner, tmp_path)


# Which disks LVM sees


def test_debians_own_configuration_lacks_only_what_hides_leased_disks_from_the_hosts_own_commands(host: Host) -> None:
    assert findings("borrower", host, OF_FILES) == []
    runner = FakeRunner().on("lvm", "vgs", ..., stdout=f"  {UUID}\n").on("lvm", "lvmconfig", ..., stdout=DEBIANS)
    [finding] = findings("borrower", Host(runner, host.root), OF_FILES)
    assert not finding.blocks
    assert finding.mend.replace(" = [ ", "=[").replace(" ]", "]").startswith(f"set {HOST_WIDE} in section devices")


def test_patterns_of_the_owners_stay_in_the_line_that_is_proposed() -> None:
    [finding] = lvm_filters.judge(LvmSight(configuration(devices__global_filter='["r|/dev/cdrom|","a|.*|"]')))
    assert ':|", "r|/dev/cdrom|" ]' in finding.mend
    own = '["a|^/dev/sd|","a|^/dev/mapper/|","r|.*|"]'
    [finding] = lvm_filters.judge(LvmSight(configuration(devices__global_filter=own)))
    assert "by their names in /dev/disk/by-id" in finding.mend


def test_where_leases_are_not_encrypted_lvm_must_see_their_disks() -> None:
    assert lvm_filters.judge(LvmSight(configuration(devices__global_filter="[]"), encrypt=False)) == []
    [finding] = lvm_filters.judge(LvmSight(configuration(), encrypt=False))
    assert finding.blocks
    assert f'"{lvm_filters.BARE_PATTERN}" first' in finding.mend


@pytest.mark.parametrize(
    "patterns",
    [
        '["a|^/dev/sda[0-9]*$|","r|.*|"]',
        '["r|^/dev/mapper/|","r|.*|"]',
        '["a|^/dev/sd[a-d]|","r|.*|"]',
        '["a/nvme/","r/.*/"]',
        '["a(md)","r{.*}"]',
        '["r|/dev/sd|","r|/dev/disk/by-id|"]',
        '["r|^/dev/dm-|","r|sd|"]',
    ],
)
@pytest.mark.parametrize("key", ["devices__filter", "devices__global_filter"])
def test_a_filter_that_hides_a_lease_stops_a_borrower(key: str, patterns: str) -> None:
    finding = lvm_filters.judge(LvmSight(configuration(**{key: patterns})))[0]
    assert finding.blocks
    assert key.replace("__", "/") in finding.what
    assert f'"{lvm_filters.LEASE_PATTERN}" first' in finding.mend


@pytest.mark.parametrize(
    "patterns",
    [
        '["r|sd|"]',
        '["r|/dev/cdrom|","r|^/dev/sd|","a|.*|"]',
        '["a|^/dev/mapper/|","r|.*|"]',
        '["a|^/dev/sda$|","a|/dm-|","r|.*|"]',
        f'["{lvm_filters.LEASE_PATTERN}","a|^/dev/sda|","r|.*|"]',
    ],
)
def test_a_filter_that_lets_leases_in_is_none_of_our_business(patterns: str) -> None:
    assert hidden(taken=("sda",), devices__filter=patterns) == []


def test_a_device_is_hidden_if_a_name_is_refused_and_none_let_in() -> None:
    names = ("/dev/sdb", "/dev/disk/by-id/scsi-1")
    assert lets_in([], names)
    assert lets_in(["r|sdc|"], names)
    assert not lets_in(["r|sdb|"], names)
    assert lets_in(["r|sdb|", "a|by-id|"], names)
    assert not lets_in(["r|.*|", "a|by-id|"], names)
    assert lets_in(["a|(|"], names)


def test_a_devices_file_in_use_makes_lvm_ignore_filters_and_must_be_writable() -> None:
    refusing = configuration(devices__filter='["r|.*|"]')
    path = "/etc/lvm/devices/system.devices"
    assert lvm_filters.judge(LvmSight(refusing, devices_file=path)) == []
    [finding] = lvm_filters.judge(LvmSight(refusing, devices_file=path, devices_file_writable=False))
    assert finding.blocks
    assert path in finding.what
    forgetful = configuration(devices__search_for_devnames='"none"')
    [finding] = lvm_filters.judge(LvmSight(forgetful, devices_file=path))
    assert "does not find a lease again" in finding.what


@pytest.mark.parametrize(("scan", "stops"), [('["/dev/mapper"]', True), ('["/dev/"]', False), ('["/x","/dev"]', False)])
def test_lvm_must_look_where_leases_appear(scan: str, stops: bool) -> None:
    assert [f.blocks for f in lvm_filters.judge(LvmSight(configuration(devices__scan=scan)))] == [True] * stops


def test_a_volume_in_use_whose_group_lvm_does_not_show_is_named(host: Host) -> None:
    host.runner.on("lvm", "vgs", ..., stdout="  aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa\n")  # type: ignore[attr-defined]
    [finding] = findings("borrower", host, OF_FILES)
    assert "vg0-swap" in finding.what
    assert "lvmdevices --adddev" in finding.mend


def test_the_devices_file_is_looked_for_where_lvm_looks(host: Host) -> None:
    listed = DEFAULTS.replace("use_devicesfile=0", "use_devicesfile=1")
    host.runner.on("lvm", "lvmconfig", ..., stdout=listed)  # type: ignore[attr-defined]
    assert lvm_filters.observe(host).devices_file is None
    (host.root / "etc/lvm/devices").mkdir(parents=True)
    (host.root / "etc/lvm/devices/system.devices").write_text("VERSION=1.1.2\n")
    assert lvm_filters.observe(host).devices_file == "/etc/lvm/devices/system.devices"


# open-iscsi


@pytest.mark.parametrize(
    ("line", "stops"),
    [
        ("iscsid.safe_logout = Yes", True),
        (" iscsid.safe_logout=yes ", True),
        ("# iscsid.safe_logout = Yes", False),
        ("iscsid.safe_logout = No", False),
    ],
)
def test_sessions_that_may_not_be_ended_stop_a_borrower(host: Host, line: str, stops: bool) -> None:
    (host.root / "etc/iscsi/iscsid.conf").write_text(f"node.startup = manual\n{line}\n")
    assert [(f.blocks, "cannot be cut off" in f.what) for f in findings("borrower", host, OF_FILES)] == [
        (True, True)
    ] * stops


def test_a_host_without_an_initiator_name_is_told_how_to_get_one(host: Host) -> None:
    (host.root / "etc/iscsi/initiatorname.iscsi").write_text("# nothing\n")
    [finding] = findings("borrower", host, OF_FILES)
    assert finding.blocks
    assert "iscsi-iname" in finding.mend


# What else it makes LVM and dmeventd do


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("global/test", "1"),
        ("global/metadata_read_only", "1"),
        ("global/activation", "0"),
        ("activation/raid_fault_policy", '"allocate"'),
    ],
)
def test_what_makes_every_borrow_fail_stops_a_borrower(key: str, value: str) -> None:
    [finding] = lvm_settings.judge(LvmSettings(configuration() | {key: value}))
    assert finding.blocks
    assert key in finding.what
    assert key.partition("/")[2] in finding.mend


@pytest.mark.parametrize(
    "key", ["thin_pool_autoextend_threshold", "snapshot_autoextend_threshold", "vdo_pool_autoextend_threshold"]
)
def test_what_dmeventd_may_put_on_a_lease_is_said(key: str) -> None:
    [told] = said(configuration() | {f"activation/{key}": "70"})
    assert "onto a lease's disk" in told


def test_where_dmeventd_watches_nothing_its_policies_do_nothing() -> None:
    assert said(configuration(activation__monitoring="0", activation__raid_fault_policy='"allocate"')) == []


def test_a_list_of_volumes_to_activate_is_said() -> None:
    [told] = said(configuration(activation__volume_list='["vg0/root","@tag"]'))
    assert "only vg0/root, @tag" in told


@pytest.mark.skipif(find_tool("lvm") is None, reason="needs lvm2")
def test_the_real_lvm_tells_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lvm.conf").write_text(
        'devices { filter = [ "a|^/dev/sda|", "r|.*|" ] }\nlog { prefix = "# " command_names = 1 verbose = 2 }\n'
    )
    monkeypatch.setenv("LVM_SYSTEM_DIR", str(tmp_path))
    found = lvm_settings.whole_configuration(SystemRunner())
    assert found["devices/filter"] == '["a|^/dev/sda|","r|.*|"]'
    assert (found["global/test"], found["activation/raid_fault_policy"]) == ("0", '"warn"')
