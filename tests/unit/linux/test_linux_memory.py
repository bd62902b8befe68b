"""Memory, swap and pressure as `/proc` shows them, on kernels that have everything and on those that do not."""

import mmap
import os
import select
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.memory import PressureTrigger, read_counters, read_memory, read_pressure
from ramshare.linux.protect import protect_from_oom
from ramshare.linux.swap import (
    Swap,
    SwapUse,
    active_swap,
    active_swaps,
    claim_on,
    format_and_turn_on,
    is_formatted,
    read_swaps,
    swap_use,
    turn_off,
)

pytestmark = pytest.mark.unit

MEMINFO = """\
MemTotal:         751348 kB
MemFree:          527320 kB
MemAvailable:     529260 kB
Buffers:               0 kB
Cached:           186764 kB
SwapTotal:         65532 kB
SwapFree:          65000 kB
HugePages_Total:       0
"""
SWAPS = """\
Filename				Type		Size		Used		Priority
{device}                    partition	65532		532		-2
/a\\040b                    file	1024		0		10
"""
PRESSURE = """\
some avg10=1.50 avg60=0.25 avg300=0.00 total=123456
full avg10=0.50 avg60=0.00 avg300=0.00 total=2345
"""


def test_sizes_are_bytes(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    info = read_memory(tmp_path)
    assert (info.total_bytes, info.available_bytes) == (751348 * 1024, 529260 * 1024)
    assert (info.swap_total_bytes, info.swap_free_bytes) == (65532 * 1024, 65000 * 1024)
    assert info.used_bytes == (751348 - 529260) * 1024


def test_a_kernel_without_memavailable_counts_only_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO.replace("MemAvailable", "MemSomething"))
    assert read_memory(tmp_path).available_bytes == 527320 * 1024


def test_swap_traffic_is_bytes_and_both_kinds_of_refault_count(tmp_path: Path) -> None:
    lines = ["pswpin 10", "pswpout 20", "workingset_refault_anon 3", "workingset_refault_file 4", "pgmajfault 5"]
    (tmp_path / "vmstat").write_text("\n".join(lines))
    counters = read_counters(tmp_path)
    assert counters.swap_in_bytes == 10 * mmap.PAGESIZE
    assert counters.swap_out_bytes == 20 * mmap.PAGESIZE
    assert (counters.refaults, counters.major_faults, counters.oom_kills) == (7, 5, None)
    (tmp_path / "vmstat").write_text("workingset_refault 9\noom_kill 1\n")
    assert (read_counters(tmp_path).refaults, read_counters(tmp_path).oom_kills) == (9, 1)
    (tmp_path / "vmstat").write_text("")
    assert read_counters(tmp_path).refaults is None


def test_this_machines_own_memory_can_be_read() -> None:
    info = read_memory()
    assert 0 < info.available_bytes <= info.total_bytes
    read_counters()


def test_pressure_is_read_and_its_absence_is_not_an_error(tmp_path: Path) -> None:
    assert read_pressure(tmp_path) is None
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/memory").write_text(PRESSURE)
    pressure = read_pressure(tmp_path)
    assert pressure is not None
    assert pressure.full is not None
    assert (pressure.some.avg10, pressure.some.total_us, pressure.full.avg10) == (1.5, 123456, 0.5)
    (tmp_path / "pressure/memory").write_text(PRESSURE.splitlines()[0])
    alone = read_pressure(tmp_path)
    assert alone is not None
    assert alone.full is None


def test_a_trigger_writes_its_threshold_and_is_closed_with_its_block(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/memory").write_text("")
    with PressureTrigger(proc=tmp_path) as trigger:
        os.fstat(trigger.fileno())
    trigger.close()
    assert trigger.fileno() == -1
    assert (tmp_path / "pressure/memory").read_text() == "some 150000 1000000\0"


def test_a_real_trigger_can_be_polled_whatever_window_this_kernel_allows() -> None:
    if read_pressure() is None:
        pytest.skip("this kernel has no memory PSI (boot with psi=1)")
    with PressureTrigger() as trigger:
        poll = select.poll()
        poll.register(trigger, select.POLLPRI)
        assert all(not event & select.POLLERR for _, event in poll.poll(0))


def test_a_trigger_without_psi_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PressureTrigger(proc=tmp_path)


def test_active_swaps_are_listed_with_their_names_decoded(tmp_path: Path) -> None:
    (tmp_path / "swaps").write_text(SWAPS.format(device="/dev/mapper/vg0-swap"))
    partition, file = read_swaps(tmp_path)
    assert (partition.path, partition.kind, partition.size_bytes) == ("/dev/mapper/vg0-swap", "partition", 65532 * 1024)
    assert (partition.used_bytes, partition.priority) == (532 * 1024, -2)
    assert (file.path, file.priority) == ("/a b", 10)


def test_no_swap_in_the_kernel_is_no_swap(tmp_path: Path) -> None:
    assert read_swaps(tmp_path) == []


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root with two volumes and a loop device over the first, by udev's names."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "dev/mapper").mkdir(parents=True)
    (tmp_path / "dev/vg0").mkdir()
    for name in ("dm-0", "dm-1", "loop3"):
        (tmp_path / "dev" / name).write_bytes(bytes(2 * mmap.PAGESIZE))
    for link in ("dev/vg0/swap", "dev/mapper/vg0-swap"):
        (tmp_path / link).symlink_to("../dm-0")
    backing = tmp_path / "sys/block/loop3/loop/backing_file"
    backing.parent.mkdir(parents=True)
    backing.write_text("/dev/mapper/vg0-swap\n")
    backing.with_name("offset").write_text("0\n")
    return tmp_path


def swapping_to(machine: Path, *devices: str) -> None:
    lines = [f"{device} partition 65532 532 -2" for device in devices]
    (machine / "proc/swaps").write_text("\n".join(["Filename Type Size Used Priority", *lines]) + "\n")


NAMES = ("/dev/dm-0", "/dev/vg0/swap", "/dev/mapper/vg0-swap", "/dev/loop3")


@pytest.mark.parametrize("active", NAMES)
@pytest.mark.parametrize("asked", NAMES)
def test_a_volumes_swap_is_found_by_any_name_and_through_a_loop_device(machine: Path, active: str, asked: str) -> None:
    swapping_to(machine, active)
    assert [swap.path for swap in active_swaps(asked, machine)] == [active]
    assert active_swap(asked, machine) is not None
    assert active_swap("/dev/dm-1", machine) is None


def test_how_a_volume_is_swapped_to_is_told_with_all_its_names(machine: Path) -> None:
    swapping_to(machine, "/dev/dm-0", "/dev/loop3")
    assert swap_use("/dev/vg0/swap", machine) == SwapUse(True, has_queue=True, active=("/dev/dm-0", "/dev/loop3"))
    assert swap_use("/dev/dm-1", machine) == SwapUse(is_swap=False, has_queue=False)


def test_a_volume_that_is_swap_directly_and_through_a_loop_device_is_swap_twice(machine: Path) -> None:
    swapping_to(machine, "/dev/dm-0", "/dev/dm-1", "/dev/loop3")
    assert [swap.path for swap in active_swaps("/dev/vg0/swap", machine)] == ["/dev/dm-0", "/dev/loop3"]


def test_a_loop_device_over_a_swap_file_is_that_file(machine: Path) -> None:
    (machine / "srv").mkdir()
    (machine / "srv/swap").write_bytes(bytes(mmap.PAGESIZE))
    (machine / "sys/block/loop3/loop/backing_file").write_text("/srv/swap\n")
    swapping_to(machine, "/srv/swap", "/dev/loop3")
    assert len(active_swaps("/srv/swap", machine)) == 2
    assert active_swaps("/dev/dm-0", machine) == []


def test_a_loop_device_over_another_part_of_a_disk_is_another_swap(machine: Path) -> None:
    (machine / "sys/block/loop3/loop/offset").write_text("1048576\n")
    swapping_to(machine, "/dev/dm-0", "/dev/loop3")
    assert [swap.path for swap in active_swaps("/dev/dm-0", machine)] == ["/dev/dm-0"]


def test_turning_a_volumes_swap_off_ends_its_loop_device(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = FakeRunner().on(...)
    monkeypatch.setattr("ramshare.linux.swap.active_swap", lambda _: Swap("/dev/loop3", "partition", 100, 10, 5))
    turn_off(runner, "/dev/vg0/swap")
    assert runner.calls == [("swapoff", "/dev/loop3"), ("losetup", "--detach", "/dev/loop3")]


def test_turning_a_volumes_swap_off_ends_the_units_claim_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = FakeRunner().on(...)
    monkeypatch.setattr("ramshare.linux.swap.active_swap", lambda _: Swap("/dev/loop3", "partition", 100, 10, 5))
    monkeypatch.setattr("ramshare.linux.swap.claim_on", lambda _: "ramshare:vg0-swap")
    turn_off(runner, "/dev/vg0/swap")
    assert runner.calls[-1] == ("dmsetup", "remove", "ramshare:vg0-swap")


def test_swap_that_was_behind_a_queue_is_so_again_and_claimed_before_anybody_else_can() -> None:
    runner = FakeRunner().on(...).on("losetup", ..., stdout="/dev/loop0\n").on("blockdev", ..., stdout="4096\n")
    before = Swap("/dev/loop3", "partition", 100, 10, 5)
    format_and_turn_on(runner, "/dev/vg0/swap", before, "ramshare:vg0-swap")
    assert [" ".join(call) for call in runner.calls] == [
        "mkswap /dev/vg0/swap",
        "blockdev --getss /dev/vg0/swap",
        "dmsetup create ramshare:vg0-swap --readonly --table 0 8 linear /dev/vg0/swap 0",
        "losetup --find --show --direct-io=on /dev/vg0/swap",
        "swapon --priority 5 /dev/loop0",
    ]


@pytest.mark.parametrize("before", [None, Swap("/dev/dm-0", "partition", 100, 10, -2)])
def test_swap_without_a_queue_stays_so(before: Swap | None) -> None:
    runner = FakeRunner().on(...)
    format_and_turn_on(runner, "/dev/vg0/swap", before)
    assert runner.calls == [("mkswap", "/dev/vg0/swap"), ("swapon", "/dev/vg0/swap")]


def test_a_claim_is_the_holder_that_has_the_volumes_name(tmp_path: Path) -> None:
    volume = tmp_path / "swap"
    volume.touch()
    block = tmp_path / "dev/block/0:0"
    (block / "dm").mkdir(parents=True)
    (block / "dm/name").write_text("vg0-swap\n")
    (block / "holders").mkdir()
    assert claim_on(str(volume), tmp_path) is None
    for holder, name in (("dm-7", "vg0-swap_snapshot"), ("dm-8", "ramshare:vg0-swap")):
        (block / "holders" / holder / "dm").mkdir(parents=True)
        (block / "holders" / holder / "dm/name").write_text(f"{name}\n")
    assert claim_on(str(volume), tmp_path) == "ramshare:vg0-swap"


def test_a_signature_makes_a_swap_and_its_absence_does_not(tmp_path: Path) -> None:
    device = tmp_path / "device"
    page = bytearray(2 * mmap.PAGESIZE)
    device.write_bytes(page)
    assert not is_formatted(str(device))
    page[mmap.PAGESIZE - 10 : mmap.PAGESIZE] = b"SWAPSPACE2"
    device.write_bytes(page)
    assert is_formatted(str(device))
    device.write_bytes(b"short")
    assert not is_formatted(str(device))


def test_protection_is_written_for_the_right_process_or_reported_as_refused(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    assert protect_from_oom(42, proc=tmp_path)
    assert (tmp_path / "42/oom_score_adj").read_text() == "-1000\n"
    assert not protect_from_oom(43, proc=tmp_path)
