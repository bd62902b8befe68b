"""The pure parts of the guest's measurement: its command, its console, its heartbeats."""

import pytest

from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.guest.scenario import GuestPlan, read_bytes_of
from ramshare_lab.experiments.guest.uml import Console, GuestSpec, Heartbeat, longest_gap_s, parse_heartbeat

pytestmark = pytest.mark.unit

BOOT_ID = "7a61000d-cb1b-4032-9786-cd56b9fd3c08"


class Lines:
    """A process that says what it was given and then ends."""

    def __init__(self, *lines: str) -> None:
        self.left = list(lines)
        self.sent: list[str] = []
        self.closed = False

    def send_line(self, line: str) -> None:
        self.sent.append(line)

    def read_line(self, timeout_s: float) -> str | None:
        return self.left.pop(0) if self.left else None

    def close(self) -> None:
        self.closed = True


def test_a_heartbeat_is_read_also_with_a_terminals_line_end() -> None:
    assert parse_heartbeat(f"guest {BOOT_ID} 2.80\r") == Heartbeat(BOOT_ID, 2.8)


@pytest.mark.parametrize(
    "line", ["", "guest", f"guest {BOOT_ID}", '{"event":"ready"}', f"xguest {BOOT_ID} 1.0", "guest  "]
)
def test_any_other_line_is_no_heartbeat(line: str) -> None:
    assert parse_heartbeat(line) is None


def test_the_console_keeps_heartbeats_and_passes_the_rest_on() -> None:
    process = Lines(f"guest {BOOT_ID} 1.00", "a", f"guest {BOOT_ID} 2.00", f"guest {BOOT_ID} 4.50", "b")
    console = Console(process)
    assert [console.read_line(1.0), console.read_line(1.0), console.read_line(1.0)] == ["a", "b", None]
    assert [beat.uptime_s for beat in console.beats] == [1.0, 2.0, 4.5]
    assert longest_gap_s(console.beats) == 2.5
    console.send_line("check")
    console.close()
    assert process.sent == ["check"]
    assert process.closed


@pytest.mark.parametrize("beats", [[], [Heartbeat(BOOT_ID, 3.0)]])
def test_fewer_than_two_heartbeats_have_no_gap(beats: list[Heartbeat]) -> None:
    assert longest_gap_s(beats) == 0.0


def test_the_guest_gets_its_volume_as_its_second_disk_and_the_machines_root_read_only() -> None:
    argv = GuestSpec(memory_bytes=48 * MIB, volume="vg0/swap").argv("/usr/bin/linux.uml", "/cache/thrash")
    assert argv[2] == "/dev/vg0/swap", "the host must stop using it before the guest starts"
    assert int(argv[4]) > int(argv[3]) == 48 * MIB
    machine = argv[argv.index("/usr/bin/linux.uml") :]
    assert {"mem=48M", "ubdb=/dev/vg0/swap", "rootfstype=hostfs", "ro", "ramshare.program=/cache/thrash"} <= set(
        machine
    )
    assert machine.index("--") > machine.index("init=/bin/busybox"), "what follows -- goes to init"


def test_the_guests_array_needs_its_swap_and_fits_into_it() -> None:
    plan = GuestPlan()
    assert plan.guest.memory_bytes * 0.7 < plan.guest.data_bytes < plan.swap_bytes
    assert plan.lab("x").lender_bytes < plan.swap_bytes < 2 * plan.lab("x").lender_bytes, "no lender can do it alone"


def test_bytes_read_are_a_disks_third_counter_in_sectors() -> None:
    line = "     120        3     2048      51      10        0       80        9        0       64       60        0\n"
    assert read_bytes_of(line) == 2048 * 512
