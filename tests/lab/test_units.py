"""ramshare's systemd units on a host that systemd runs: a volume is never swap twice, and a shutdown loses no page."""

import json
import time
from collections.abc import Iterator

import pytest

from ramshare.bus.mqtt import MqttBus
from ramshare.linux.lvm import Lvm
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.systemd_host import UNITS_DIR, SystemdHost
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.load.thrash import command

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SWAP_BYTES = 128 * MIB
DATA_BYTES = 96 * MIB
RESIDENT_BYTES = 48 * MIB
"""What the process may have in memory: it swaps all the time, and `swapoff` cannot bring all of it in."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    spec = LabSpec(
        name="units",
        guests=0,
        swap_bytes=SWAP_BYTES,
        lender_bytes=SWAP_BYTES * 3 // 4,
        agents=False,
        disk_iops=0,
        disk_bytes_per_s=0,
    )
    with Lab(spec) as running:
        yield running


@pytest.fixture(scope="module")
def host(lab: Lab) -> SystemdHost:
    host = SystemdHost(lab.borrower, lab.agents["borrower.hostx"].spec)
    host.boot()
    return host


def test_systemd_has_nothing_to_say_against_the_units(host: SystemdHost) -> None:
    units = [f"/etc/systemd/system/{unit.name}" for unit in UNITS_DIR.glob("*.service")]
    assert host.run("systemd-analyze", "verify", *units) == ""


VOLUME_NAMES = ("/dev/vg0/swap", "/dev/mapper/vg0-swap", "/dev/dm-0", "UUID")
UNIT = "ramshare-swap@vg0-swap"


def swaps(host: SystemdHost) -> list[str]:
    return [line.split()[0] for line in host.run("cat", "/proc/swaps").splitlines()[1:]]


def left(host: SystemdHost) -> str:
    """What the unit makes: a loop device and a claim on the volume."""
    return host.run("losetup", "--list", "--noheadings") + host.run("ls", "/sys/block/dm-0/holders")


@pytest.mark.parametrize("name", VOLUME_NAMES)
def test_the_unit_refuses_a_volume_that_is_swap_already_and_leaves_nothing(host: SystemdHost, name: str) -> None:
    host.run("swapon", named(host, name))
    try:
        host.run("systemctl", "start", UNIT, ok=(1,))
        assert "is in use: a line in /etc/fstab" in host.log("swap").splitlines()[-1]
        assert swaps(host) == ["/dev/dm-0"]
        assert left(host) == ""
    finally:
        host.run("swapoff", "/dev/dm-0")
        host.run("systemctl", "reset-failed")


@pytest.mark.parametrize("name", VOLUME_NAMES)
def test_a_volume_that_the_unit_swaps_to_is_refused_to_everybody_else(host: SystemdHost, name: str) -> None:
    host.run("systemctl", "start", UNIT)
    try:
        told = host.run("swapon", named(host, name), ok=(255,))
        assert "Device or resource busy" in told
        assert swaps(host) == ["/dev/loop0"]
    finally:
        host.run("systemctl", "stop", UNIT)
    assert swaps(host) == []
    assert left(host) == ""


def named(host: SystemdHost, name: str) -> str:
    if name != "UUID":
        return name
    return "UUID=" + host.run("blkid", "--probe", "--match-tag", "UUID", "--output", "value", "/dev/vg0/swap").strip()


def test_what_swapon_refuses_loses_its_loop_device(host: SystemdHost) -> None:
    host.run("lvcreate", "--yes", "--size", "8M", "--name", "plain", "vg0")
    try:
        host.run("systemctl", "start", "ramshare-swap@vg0-plain", ok=(1,))
        assert "cannot swap to /dev/vg0/plain" in host.log("swap")
        assert host.run("losetup", "--list", "--noheadings") == ""
    finally:
        host.run("lvremove", "--yes", "vg0/plain")
        host.run("systemctl", "reset-failed")


def test_the_readmes_command_finds_a_volume_of_any_name(host: SystemdHost) -> None:
    for name in ("swap_1", "de-bian--x.y+z"):
        host.run("lvcreate", "--yes", "--size", "8M", "--name", name, "vg0")
        try:
            host.run("mkswap", f"/dev/vg0/{name}")
            unit = host.run("systemd-escape", "--template=ramshare-swap@.service", f"vg0/{name}").strip()
            host.run("systemctl", "start", unit)
            assert swaps(host) == ["/dev/loop0"]
            assert (
                host.run("losetup", "--noheadings", "--output", "BACK-FILE", "/dev/loop0").strip().startswith("/dev/")
            )
            host.run("systemctl", "stop", unit)
            assert swaps(host) == []
        finally:
            host.run("lvremove", "--yes", f"vg0/{name}")


WATCHDOG_S = 10
"""Instead of the unit's own, to be waited for in a test."""


def shown(host: SystemdHost, *properties: str) -> list[str]:
    return [host.run("systemctl", "show", "--value", "-p", name, "ramshare-borrower").strip() for name in properties]


class TestTheServiceOfTheBorrower:
    """Started by its unit, under a watchdog of little patience."""

    @pytest.fixture(scope="class")
    def served(self, host: SystemdHost) -> Iterator[SystemdHost]:
        drop_in = "/run/systemd/system/ramshare-borrower.service.d"
        patience = f"[Service]\\nWatchdogSec={WATCHDOG_S}\\n"
        host.run("sh", "-c", f"mkdir -p {drop_in}; printf '{patience}' > {drop_in}/soon.conf")
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "start", "ramshare-borrower")
        yield host
        host.run("systemctl", "stop", "ramshare-borrower")
        host.run("rm", "-r", drop_in)
        host.run("systemctl", "daemon-reload")

    def test_it_is_started_when_the_agent_is_online(self, lab: Lab, served: SystemdHost) -> None:
        with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as operator:
            assert operator.until(lambda: operator.retained.online("borrower.hostx"), 5.0)
        assert shown(served, "SubState", "StatusText") == ["running", "online: requests are heard"]

    def test_a_long_lvm_command_does_not_make_it_look_hung(self, served: SystemdHost) -> None:
        before = shown(served, "MainPID", "NRestarts")
        asked = len(served.log("borrower"))
        served.run("flock", "/run/lock/lvm/V_vg0", "sleep", str(WATCHDOG_S + 5))
        assert shown(served, "MainPID", "NRestarts") == before, served.log("borrower")[asked:]

    def test_an_agent_that_hangs_is_started_again(self, served: SystemdHost) -> None:
        pid, restarts = shown(served, "MainPID", "NRestarts")
        served.run("kill", "-STOP", pid)
        deadline = time.monotonic() + 120.0
        while int(shown(served, "NRestarts")[0]) == int(restarts) or shown(served, "SubState") != ["running"]:
            assert time.monotonic() < deadline, served.console()[-2000:]
            time.sleep(0.5)
        assert shown(served, "MainPID") != [pid]


WITNESS = """[Unit]
Description=a process with checked pages, which ends after iSCSI and the network
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target iscsid.service open-iscsi.service lab-network.service
RequiresMountsFor=/var/lib/ramshare
[Service]
Slice=guests.slice
MemoryMax={resident_bytes}
OOMScoreAdjust=-1000
TimeoutStopSec=120
ExecStartPre=/bin/sh -c 'rm -f /run/thrash; mkfifo /run/thrash'
ExecStart=/bin/sh -c 'exec 3<> /run/thrash; exec {command} <&3 > {out}'
ExecStop=/bin/sh -c 'printf "stop\\\\ncheck\\\\n" > /run/thrash; until grep -q result.*check {out}; do sleep 0.2; done'
"""
OUT = "thrash.out"


class Witness:
    """The process, by the lines that it writes to what the VM keeps."""

    def __init__(self, host: SystemdHost) -> None:
        self._host = host
        self._out = host.vm.spec.persist_dir / OUT

    def start(self) -> None:
        process, out = " ".join(command(DATA_BYTES)), f"/var/lib/ramshare/{OUT}"
        text = WITNESS.format(command=process, out=out, resident_bytes=RESIDENT_BYTES)
        self._host.add_unit("lab-witness.service", text)
        self._host.run("systemctl", "start", "lab-witness")

    def tell(self, line: str) -> None:
        self._host.run("sh", "-c", f"echo {line} > /run/thrash")

    def results(self) -> dict[str, dict[str, object]]:
        text = self._out.read_text() if self._out.exists() else ""
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return {line["command"]: line for line in lines if line.get("event") == "result"}

    def await_result(self, name: str, timeout_s: float = 60.0) -> dict[str, object]:
        deadline = time.monotonic() + timeout_s
        while name not in self.results():
            assert time.monotonic() < deadline, f"no {name}: {self.results()}"
            time.sleep(0.2)
        return self.results()[name]


GUESTS = """[Unit]
Description=stands in for libvirt's own
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStop=true
"""
ORDER = (
    "Stopped libvirt-guests.service",
    "Stopped ramshare-borrower.service",
    "Stopped ramshare-home.service",
    "Stopping open-iscsi.service",
    "Stopping iscsid.service",
    "Stopping lab-network.service",
    "Stopping lab-witness.service",
)
SHUTDOWN_S = 240.0
"""For the whole reboot in emulation, in a storm that shares the one CPU; the way home takes most of it."""


def test_a_reboot_of_a_host_whose_swap_is_away_loses_no_page(lab: Lab, host: SystemdHost) -> None:
    for client, agent in lab.agents.items():
        if not client.startswith("borrower"):
            agent.start()
    host.add_unit("libvirt-guests.service", GUESTS)
    host.run("systemctl", "start", "ramshare-borrower", "libvirt-guests")
    witness = Witness(host)
    with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as operator:
        operator.wait_ready(SWAP_BYTES)
        operator.borrow(VOLUME, Mode.MOVE)
        attached = operator.follow(VOLUME, VolumePhase.ATTACHED, 120.0)
        assert "but nobody swaps to it" in attached.step
        host.run("swapon", f"/dev/{VOLUME}")
        host.write("etc/fstab", f"/dev/{VOLUME} none swap sw 0 0\n")
        # There are sessions now, so that Debian's unit logs out of them all at shutdown.
        host.run("systemctl", "start", "open-iscsi")
        witness.start()
        for line in ("init", "page_out"):
            witness.tell(line)
            witness.await_result(line)
        witness.tell("storm 20")
        seen = len(host.console())
        took_s = host.reboot()
        assert_loses_nothing(witness)
        assert "1 volume(s) home" in host.log("home")
        told = host.console()[seen:]
        places = [told.find(words) for words in ORDER]
        assert -1 not in places, told
        assert places == sorted(places), told
        assert took_s < SHUTDOWN_S
        assert swaps(host) == ["/dev/dm-0"], "fstab's line finds the volume at home"
        state = Lvm(host.vm.shell, udev=False).report()
        assert [(lv.full_name, lv.layout, set(lv.pvs), lv.tags) for lv in state.lvs] == [
            (VOLUME, "linear", {"/dev/vda"}, frozenset())
        ]
        host.run("systemctl", "start", "ramshare-borrower")
        assert operator.until(lambda: not operator.leases(), 60.0), operator.leases()
        for name in lab.spec.lender_names:
            assert list((lab.state_dir / "lender" / name).glob("*.img")) == [], "the lender was told before the end"


def assert_loses_nothing(witness: Witness) -> None:
    results = witness.results()
    assert results["page_out"]["bytes"] == DATA_BYTES
    assert results["storm"]["operations"]
    assert (results["storm"]["bad_pages"], results["check"]["bad_pages_total"]) == (0, 0)
