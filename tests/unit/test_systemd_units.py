"""The units as they are installed: how little each may do, what tells systemd of it, and when it starts and ends."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

UNITS = Path(__file__).resolve().parents[2] / "agents/systemd"
AGENTS = ("lender", "borrower", "manager", "monitor")
MOST_EXPOSED = {
    "lender": 5.0,
    "borrower": 5.0,
    "home": 5.0,
    "manager": 2.0,
    "monitor": 2.0,
    "broker@": 2.0,
    "broker-guard": 2.5,
}
"""What `systemd-analyze security` may find at most; 10 is a process that may do anything."""
SHUT_IN = (
    "ProtectSystem",
    "ProtectHome",
    "NoNewPrivileges",
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
    "SystemCallFilter",
    "SystemCallArchitectures",
    "RestrictNamespaces",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "ProtectKernelModules",
    "ProtectControlGroups",
    "UMask",
    "LimitCORE",
)


def settings(role: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in (UNITS / f"ramshare-{role}.service").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return found


def words(role: str, name: str) -> set[str]:
    return {word for value in settings(role)[name] for word in value.split()}


@pytest.mark.parametrize(("role", "most"), MOST_EXPOSED.items())
@pytest.mark.parametrize("drop_ins", [True, False])
def test_a_unit_may_do_no_more_than_its_work(role: str, most: float, drop_ins: bool, tmp_path: Path) -> None:
    unit = UNITS / f"ramshare-{role}.service"  # systemd looks for drop-ins beside it
    if not drop_ins:
        unit = Path(shutil.copy(unit, tmp_path))
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={most * 10:.0f}", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", MOST_EXPOSED)
def test_a_unit_is_shut_in_by_every_means(role: str) -> None:
    assert [name for name in SHUT_IN if name not in settings(role)] == []
    assert settings(role)["ProtectSystem"] == ["strict"]
    assert settings(role)["NoNewPrivileges"] == ["yes"]


@pytest.mark.parametrize("role", ["manager", "monitor"])
def test_who_touches_no_host_is_nobody_on_it(role: str) -> None:
    assert settings(role)["DynamicUser"] == ["yes"]
    assert settings(role)["CapabilityBoundingSet"] == [""]


@pytest.mark.parametrize("role", MOST_EXPOSED)
def test_an_agent_reads_its_settings_itself(role: str) -> None:
    """systemd takes a comment behind a value for part of it, and would show every setting in the environment."""
    assert "EnvironmentFile" not in settings(role)


@pytest.mark.parametrize("role", ["manager", "monitor"])
def test_a_key_is_read_by_root_and_handed_to_the_service_alone(role: str) -> None:
    given = {value.partition(":")[0] for value in settings(role)["LoadCredential"]}
    client = {"manager": "manager", "monitor": "guest.%l"}[role]
    assert given == {"ramshare.env", "ca.crt", f"{client}.crt", f"{client}.key"}
    assert words(role, "Environment") == {"RAMSHARE_ENV_FILE=%d/ramshare.env", "RAMSHARE_TLS_DIRECTORY=%d"}


@pytest.mark.parametrize("role", AGENTS)
def test_systemd_hears_that_an_agent_serves_and_that_its_loop_turns(role: str) -> None:
    assert settings(role)["Type"] == ["notify"]
    assert float(settings(role)["WatchdogSec"][0]) >= 60
    assert "AF_UNIX" in words(role, "RestrictAddressFamilies")


@pytest.mark.parametrize("role", [*AGENTS, "home"])
def test_what_an_agent_needs_to_end_in_order_ends_after_it(role: str) -> None:
    assert {"network-online.target", "network.target"} <= words(role, "After")


@pytest.mark.parametrize("role", ["borrower", "home"])
def test_volumes_come_home_before_anything_that_they_lie_on_ends(role: str) -> None:
    needed = {
        *("iscsid.service", "open-iscsi.service", "multipathd.service", "lvm2-monitor.service"),
        *("lvm2-lvmpolld.socket", "blk-availability.service", "systemd-udevd.service"),
    }
    assert needed <= words(role, "After")
    assert {"libvirt-guests.service", "xendomains.service"} <= words(role, "Before")


def test_the_way_home_is_shut_in_as_the_borrower_is() -> None:
    names = {*SHUT_IN, "ReadWritePaths", "KillMode", "MemorySwapMax", "OOMScoreAdjust"}
    borrower, home = settings("borrower"), settings("home")
    assert {name: borrower[name] for name in names} == {name: home[name] for name in names}


def test_the_lenders_memory_is_mounted_outside_of_the_service_that_ends_before_it() -> None:
    first, *_ = settings("lender")["ExecStartPre"]
    into_the_hosts_view = "+/usr/bin/nsenter --mount=/proc/1/ns/mnt"  # `+` alone gets a view of its own, too
    assert first == f"{into_the_hosts_view} /usr/local/bin/ramshare-agent lender --mount"
    assert settings("lender")["RuntimeDirectoryPreserve"] == ["yes"]


@pytest.mark.parametrize("role", ["lender", "borrower", "home"])
def test_what_an_agent_started_outlives_it(role: str) -> None:
    assert settings(role)["KillMode"] == ["process"]
