"""The lab itself, for real: it boots, takes commands, moves live swap, cuts links, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramshare.borrower.machine.disk_queue import WHILE_MOVING
from ramshare.linux.run import CommandError, SystemRunner, find_tool
from ramshare_lab.cluster.agents import PACKAGE_ROOT
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.premises import DISKS_DIR, LabRunsError
from ramshare_lab.cluster.reaper import LABS_DIR, sweep
from ramshare_lab.cluster.spec import LabSpec, address_of
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.load.thrash import Thrash, binary, command

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
]

with_libvirt = pytest.mark.skipif(find_tool("libvirtd") is None, reason="apt-get install libvirt-daemon")
SWAP_BYTES = 448 * MIB
ARRAY_BYTES = 280 * MIB
"""More than a borrower's host has free. The swap holds all of it and more: while a `pvmove` delays writes, pages on
their way out keep both memory and place in swap, and with no free place left the kernel ends a process at once."""

SCRIPT = """
import sys
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.spec import LabSpec
libvirt = "libvirt" in sys.argv[2:]
spec = LabSpec(sys.argv[1], lenders=1, guests=int(libvirt), libvirt=libvirt, agents=False, swap_bytes=64 << 20)
with Lab(spec, lambda line: print(line, flush=True)):
    print("entered", flush=True)
    sys.stdin.read()
"""

STAY_RESIDENT = """
import sys
from ramshare.borrower.machine.startup import HELD_TOOLS
from ramshare.borrower.machine.stay_resident import stay_resident
from ramshare.linux.pin import PinnedFiles
from ramshare.linux.run import SystemRunner
pinned = PinnedFiles()
stay_resident(SystemRunner(), pinned, HELD_TOOLS)
print("resident", flush=True)
sys.stdin.read()
"""
"""As a borrower does. LVM whose code was dropped from memory waits for it, it for memory, memory for swap that LVM has
suspended: without this the host wedged in 2 of 10 moves (seen in blocked tasks' stacks)."""

SHORT_QUEUE = " && ".join(f"echo {value} > /sys/block/vda/queue/{name}" for name, value in WHILE_MOVING.items())
"""As a borrower does, with swap behind a queue: without both a storm's writes held the copy up for minutes."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(LabSpec("tcluster", lenders=1, agents=False, swap_bytes=SWAP_BYTES, swap_queue=False)) as running:
        yield running
    assert left_of("tcluster") == []


@pytest.fixture
def storm_lab() -> Iterator[Lab]:
    """One of its own: a host that a storm wedges must not take the other tests along."""
    spec = LabSpec(
        "tstorm",
        lenders=1,
        guests=0,
        agents=False,
        swap_bytes=SWAP_BYTES,
        ceiling_bytes=SWAP_BYTES + 8 * MIB,
        disk_iops=2000,  # with the modelled disk's 120 a move home in the middle of a storm takes minutes
    )
    with Lab(spec) as running:
        yield running
    assert left_of("tstorm") == []


def left_of(name: str) -> list[str]:
    """Everything on this machine that still carries the lab's name."""
    left = [str(path) for path in (*DISKS_DIR.glob(f"ramshare-{name}-*"), LABS_DIR / name) if path.exists()]
    left += [str(path) for path in Path("/run/netns").glob(f"ramshare-{name}-*")]
    left += [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{name}/" in line]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(f"ramshare-{name}-" in word or str(LABS_DIR / name) in word for word in words):
                left.append(" ".join(words)[:120])
    return left


def wait_until_nothing_is_left(name: str, timeout_s: float = 20.0) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while left_of(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left_of(name)


def test_a_borrowers_host_comes_up_with_its_swap_on_the_local_disk(lab: Lab) -> None:
    shell = lab.borrower.shell
    assert shell.run(["lvs", "--noheadings", "-o", "devices", "vg0/swap"]).stdout.strip() == "/dev/vda(0)"
    assert "/dev/mapper/vg0-swap" in shell.run(["cat", "/proc/swaps"]).stdout
    assert "some" in shell.run(["cat", "/proc/pressure/memory"]).stdout
    available_kib = int(shell.run(["sed", "-n", "s/MemAvailable: *\\([0-9]*\\) kB/\\1/p", "/proc/meminfo"]).stdout)
    assert 140 * 1024 < available_kib < 256 * 1024


def test_a_command_in_a_vm_reports_status_output_and_input(lab: Lab) -> None:
    shell = lab.borrower.shell
    assert shell.run(["cat"], stdin="one\ntwo\n").stdout == "one\ntwo\n"
    with pytest.raises(CommandError, match="exit status 3 in the VM"):
        shell.run(["sh", "-c", "echo no >&2; exit 3"])
    assert shell.run(["sh", "-c", "exit 3"], ok=(3,)).returncode == 3


def test_closing_a_connection_kills_its_command_and_what_it_started(lab: Lab) -> None:
    shell = lab.borrower.shell
    with shell.open(["sh", "-c", "sleep 987 & echo started; wait"]) as process:
        assert process.read_line(10) == "started"
    deadline = time.monotonic() + 5
    while shell.run(["pgrep", "-f", "^sleep 987"], ok=(0, 1)).returncode == 0:
        assert time.monotonic() < deadline, "the command outlived its connection"


def test_the_guest_and_the_host_reach_each_other_and_nothing_outside(lab: Lab) -> None:
    guest = lab.vms["web1"].shell
    assert guest.run(["busybox", "ping", "-c", "1", "-W", "2", address_of("hosta")], ok=(0, 1)).returncode == 0
    assert guest.run(["busybox", "ping", "-c", "1", "-W", "1", "10.1.2.3"], ok=(0, 1, 2)).returncode != 0


def test_a_vm_writes_nothing_to_the_machines_files(lab: Lab) -> None:
    lab.borrower.shell.run(["sh", "-c", "echo x > /etc/ramshare-was-here"])
    assert not Path("/etc/ramshare-was-here").exists()


def test_live_swap_moves_to_the_ram_disk_and_back_under_memory_pressure(storm_lab: Lab) -> None:
    shell = storm_lab.borrower.shell
    shell.run(["pvcreate", "-q", "/dev/ram0"])
    shell.run(["vgextend", "-q", "vg0", "/dev/ram0"])
    resident = shell.open([sys.executable, "-c", STAY_RESIDENT], env={"PYTHONPATH": str(PACKAGE_ROOT)}, stdin=True)
    with (
        resident,
        Thrash(shell.open(command(ARRAY_BYTES, binary()), oom_score_adj=500), silence_s=120) as thrash,
    ):
        assert resident.read_line(60) == "resident"
        thrash.init()
        thrash.start_storm(20)  # with half of writes 1 move in 12 wedged the host even so
        shell.run(["sh", "-c", SHORT_QUEUE])
        for source, target in (("/dev/vda", "/dev/ram0"), ("/dev/ram0", "/dev/vda")):
            shell.run(["pvmove", "-i", "1", "-n", "swap", source, target], timeout_s=200)
            assert shell.run(["lvs", "--noheadings", "-o", "devices", "vg0/swap"]).stdout.strip() == f"{target}(0)"
        result = thrash.stop_storm()
        assert result.bad_pages == 0
        assert thrash.check().bad_pages == 0
    shell.run(["vgreduce", "-q", "vg0", "/dev/ram0"])


def test_a_cut_link_drops_what_it_names_and_a_mended_one_works_again(lab: Lab) -> None:
    def reaches(host: str) -> bool:
        return (
            lab.borrower.shell.run(["busybox", "ping", "-c", "1", "-W", "1", address_of(host)], ok=(0, 1)).returncode
            == 0
        )

    lab.network.cut("hostx", peer="hosta")
    assert not reaches("hosta") and reaches("web1")
    lab.network.mend("hostx", peer="hosta")
    assert reaches("hosta")
    lab.network.cut("hostx")
    assert not reaches("hosta") and not reaches("web1")
    lab.network.mend("hostx")
    assert reaches("hosta") and reaches("web1")


def test_a_reset_host_keeps_its_disk_and_its_persistent_files(lab: Lab) -> None:
    shell = lab.borrower.shell
    uuid = shell.run(["vgs", "--noheadings", "-o", "vg_uuid", "vg0"]).stdout
    shell.run(["sh", "-c", "echo kept > /var/lib/ramshare/note; echo lost > /run/note"])
    lab.borrower.reset()
    lab.borrower.wait_ready()
    assert shell.run(["vgs", "--noheadings", "-o", "vg_uuid", "vg0"]).stdout == uuid
    assert shell.run(["cat", "/var/lib/ramshare/note"]).stdout == "kept\n"
    assert shell.run(["cat", "/run/note"], ok=(1,)).returncode == 1
    assert "/dev/mapper/vg0-swap" in shell.run(["cat", "/proc/swaps"]).stdout


def test_a_second_lab_of_the_same_name_is_refused_and_disturbs_nothing(lab: Lab) -> None:
    with pytest.raises(LabRunsError), Lab(LabSpec("tcluster", lenders=0, guests=0, borrowers=0)):
        pass
    assert lab.borrower.shell.alive()


@pytest.mark.parametrize(
    ("number", "more"),
    [
        pytest.param(signal.SIGINT, [], id="ctrl-c"),
        pytest.param(signal.SIGKILL, [], id="kill-9"),
        pytest.param(signal.SIGKILL, ["libvirt"], id="kill-9-libvirt", marks=with_libvirt),
    ],
)
def test_nothing_is_left_when_the_orchestrator_dies_of_a_signal(number: signal.Signals, more: list[str]) -> None:
    name = f"tsig{number.value}{''.join(more)[:3]}"
    env = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
    argv = [sys.executable, "-c", SCRIPT, name, *more]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("booting"):
            assert process.poll() is None, "the lab did not start"
        time.sleep(1)
        assert left_of(name), "nothing was there to be removed"
        process.send_signal(number)
        process.wait(30)
    assert wait_until_nothing_is_left(name) == []


def test_sweep_removes_what_a_crashed_machine_left(lab: Lab) -> None:
    crashed = LABS_DIR / "tcrashed"
    crashed.mkdir(mode=0o700)
    (crashed / "journal.jsonl").write_text(
        '{"kind": "run", "id": "tcrashed-1", "pid": 1, "start": 1, "boot": "another boot"}\n'
        f'{{"kind": "directory", "path": "{crashed}"}}\n'
    )
    assert sweep(SystemRunner()) == ["lab tcrashed was left behind"]
    assert not crashed.exists()
    assert lab.borrower.shell.alive()
