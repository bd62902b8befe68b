"""The kernel's target on a real kernel: a lender in a virtual machine; libiscsi's tools and a borrower's host look."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from kit.vm_python import VmPython
from ramshare.linux.disk_identity import disk_id
from ramshare.messages.names import PREFIX, target_of
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.spec import VOLUME, LabSpec, address_of
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.faults.leftovers import left_behind
from ramshare_lab.experiments.faults.stage import Stage

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        shutil.which("iscsi-inq") is None, reason="not installed: iscsi-inq (apt-get install libiscsi-bin)"
    ),
]

HOST = "hosta"
US = "iqn.2026-01.net.ramshare:borrower.hostb"
SERIAL, IDENTIFICATION = "128", "131"
"""Pages 0x80 and 0x83."""
TARGETS = "/sys/kernel/config/target"
OWN = "iqn.2003-01.org.linux-iscsi.own:backup"
OWN_TARGET = f"""set -e
cd {TARGETS}
truncate -s 4M /run/own.img
mkdir -p core/fileio_0/own iscsi/{OWN}/tpgt_1
echo fd_dev_name=/run/own.img,fd_dev_size=4194304 > core/fileio_0/own/control
echo 1 > core/fileio_0/own/enable
mkdir iscsi/{OWN}/tpgt_1/lun/lun_0 iscsi/{OWN}/tpgt_1/np/{address_of(HOST)}:3260
ln -s {TARGETS}/core/fileio_0/own iscsi/{OWN}/tpgt_1/lun/lun_0/own
echo 1 > iscsi/{OWN}/tpgt_1/enable
"""
"""What a host's owner may serve by LIO, at the same address."""
OWN_CONFIGURATION = f"""cd {TARGETS}
find core/fileio_0 iscsi/{OWN} | sort
for file in $(find core/fileio_0/own/attrib iscsi/{OWN} -type f ! -path '*statistics*' | sort); do
    echo "$file $(cat $file 2> /dev/null)"
done
cat dbroot; ls /etc/target /var/target 2> /dev/null || true
"""
EXPORTS = f"""
from pathlib import Path
from dataclasses import asdict, replace
from ramshare.lender.exports.store import Exports
from ramshare.linux.lio import Lio
from ramshare.linux.portal import Portal
from ramshare.linux.ramdisk import Ramdisk
from ramshare.linux.run import SystemRunner
from ramshare.linux.target import TargetBusyError
from ramshare.messages.names import target_of
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Mode
lio = Lio(SystemRunner(), Portal.parse("{address_of(HOST)}:3260"))
disk = Ramdisk(SystemRunner(), Path("/run/ramshare/test"))
def lender():
    exports = Exports(disk, lio, "{HOST}")
    exports.start()
    return exports
def lend(exports, lease, mib=4):
    wanted = ExportLease(lease=lease, borrower="borrower.b", initiator="{US}", size_bytes=mib << 20,
                         mode=Mode.MIRROR, login_within_s=60)
    record = exports.create(wanted, 0)
    return f"{{record.chap_user}}%{{record.chap_secret.get_secret_value()}}"
exports = lender()
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    spec = LabSpec(
        name="tlio", lenders=1, guests=0, target="lio", swap_bytes=224 * MIB, lender_bytes=256 * MIB, agents=False
    )
    with Lab(spec) as running:
        yield running


@pytest.fixture(scope="module")
def shell(lab: Lab) -> RemoteShell:
    return lab.vms[HOST].shell


@pytest.fixture(scope="module")
def python(shell: RemoteShell) -> Iterator[VmPython]:
    with VmPython(shell) as there:
        there(EXPORTS)
        yield there


@pytest.fixture
def lease(python: VmPython) -> Iterator[str]:
    """A lease `l1`; its CHAP name and secret as libiscsi's tools write them."""
    login = python("answer = lend(exports, 'l1')")
    yield str(login)
    python("[exports.remove(x, force=True) for x in list(exports.records)]")
    python("assert lio.show() == [] and not disk.images()")


def initiator(
    tool: str, login: str, *about: str, lease: str = "l1", name: str = US
) -> subprocess.CompletedProcess[bytes]:
    """Run one of libiscsi's tools against a lease, from the lab's switch."""
    url = f"iscsi://{login}@{address_of(HOST)}:3260/{target_of(HOST, lease)}/0"
    return subprocess.run([tool, *about, "-i", name, url], check=False, capture_output=True, timeout=60)


def page(login: str, number: str, lease: str = "l1") -> bytes:
    done = initiator("iscsi-inq", login, "-e", "1", "-c", number, lease=lease)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(condition: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def test_only_the_named_initiator_with_the_secret_finds_the_disk(lease: str) -> None:
    done = initiator("iscsi-inq", lease)
    assert done.returncode == 0, done.stderr
    assert b"RAMSHARE" in done.stdout
    assert str(4 * MIB).encode() in initiator("iscsi-readcapacity16", lease).stdout
    assert initiator("iscsi-inq", "l1%not-the-secret-1").returncode != 0
    assert initiator("iscsi-inq", lease, name="iqn.2026-01.net.ramshare:borrower.hostc").returncode != 0


def test_every_lease_is_a_disk_of_its_own_name_which_it_keeps(python: VmPython, lease: str) -> None:
    other = python("answer = lend(exports, 'l2')")
    pages = [page(login, n, name) for login, name in ((lease, "l1"), (other, "l2")) for n in (SERIAL, IDENTIFICATION)]
    assert len(set(pages)) == 4
    digits = disk_id(target_of(HOST, "l1"))
    assert bytes.fromhex(digits).partition(b"\0")[0] in pages[1]
    assert digits[7:].encode() in pages[0]
    assert not set(re.findall(rb"RAMSHARE[^\n]*", pages[1])) & set(re.findall(rb"RAMSHARE[^\n]*", pages[3]))
    python("[lio.delete_target(target.iqn) for target in lio.show()]; exports.look()")
    assert page(lease, IDENTIFICATION) == pages[1]


def test_a_target_in_use_is_removed_by_force_only(python: VmPython, lease: str) -> None:
    url = f"iscsi://{lease}@{address_of(HOST)}:3260/{target_of(HOST, 'l1')}/0"
    reader = subprocess.Popen(["iscsi-perf", "-i", US, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: python("answer = exports.look()") == {"l1": True})
        assert python("answer = [s.initiator for t in lio.show() for s in t.sessions]") == [US]
        told = python(
            "try:\n lio.delete_target(target_of('hosta', 'l1'))\nexcept TargetBusyError as error:\n answer = str(error)"
        )
        assert "borrower.hostb" in told
        python("exports.remove('l1', force=True)")
        assert python("answer = lio.show() == []")
    finally:
        reader.kill()
        reader.wait(10)


def test_an_agent_that_starts_again_adopts_what_is_served(python: VmPython, shell: RemoteShell, lease: str) -> None:
    tree = ["sh", "-c", f"cd {TARGETS}; find core iscsi -type d -printf '%p %i\\n' | sort"]
    before = shell.run(tree).stdout
    assert python("again = lender(); answer = list(again.records)") == ["l1"]
    assert shell.run(tree).stdout == before, "not one object was made anew"
    assert initiator("iscsi-inq", lease).returncode == 0


def test_one_address_is_served_and_what_the_owner_serves_there_stays_as_it_is(
    python: VmPython, shell: RemoteShell
) -> None:
    shell.run(["sh", "-c", OWN_TARGET])
    before = shell.run(["sh", "-c", OWN_CONFIGURATION]).stdout
    login = python("exports = lender(); answer = lend(exports, 'l1')")
    assert initiator("iscsi-inq", login).returncode == 0
    assert python("answer = [target.iqn for target in lio.show()]") == [target_of(HOST, "l1")]
    listening = shell.run(["ss", "-Hltn", "sport = :3260"]).stdout.split()
    assert [word for word in listening if word.endswith(":3260")] == [f"{address_of(HOST)}:3260"]
    python("exports.remove('l1')")
    assert shell.run(["sh", "-c", OWN_CONFIGURATION]).stdout == before
    found = shell.run(["sh", "-c", f"ls {TARGETS}/iscsi | grep -c {PREFIX}"], ok=(0, 1)).stdout
    assert found.strip() == "0"


def test_memory_is_back_when_target_and_file_are_gone(python: VmPython, shell: RemoteShell) -> None:
    def shared_kib() -> int:
        return int(shell.run(["awk", "/^Shmem:/ {print $2}", "/proc/meminfo"]).stdout)

    before = shared_kib()
    python("lend(exports, 'l1', 64)")
    assert shared_kib() - before >= 63 * 1024  # others give some back meanwhile
    python("exports.remove('l1')")
    assert shared_kib() - before < 4 * 1024


def test_a_volume_goes_out_to_the_kernels_target_and_comes_home(lab: Lab, python: VmPython) -> None:
    """With all agents; the lender's is killed while the volume is out, and adopts the lease."""
    python("disk.umount()")
    for agent in lab.agents.values():
        agent.start()
    with Stage(lab) as stage:
        stage.attach(Mode.MOVE)
        assert stage.victim.check_pages() == 0
        stage.crash("lender.hosta")
        stage.wait(lambda: stage.online("lender.hosta"), "the lender is back", 60.0)
        stage.wait(lambda: any(export.connected for export in stage.operator.exports()), "the session is seen", 60.0)
        assert stage.victim.check_pages() == 0
        stage.operator.send_home(VOLUME)
        stage.operator.follow(VOLUME, VolumePhase.HOME, 150.0)
        assert stage.victim.check_pages() == 0
        assert left_behind(lab) == []
