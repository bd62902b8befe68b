"""`/proc` as containers (lxcfs), old kernels and other people's names make it look: clamped, reported, never fatal."""

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.fakes import FakeRunner
from kit.memory_bus import MemoryBroker, MemoryBus
from ramshare.linux.dm import suspended_names, writes
from ramshare.linux.footprint import let_go
from ramshare.linux.iscsi_sessions import sessions
from ramshare.linux.memory import MemoryUnreadableError, read_counters, read_memory, read_pressure
from ramshare.linux.proc import numbers, unescaped
from ramshare.linux.protect import keep_free, keep_out_of_swap
from ramshare.linux.ramdisk import Ramdisk
from ramshare.linux.sampling import MemorySampler
from ramshare.linux.swap import read_swaps
from ramshare.messages.state import Memory
from ramshare.monitor.agent import Monitor
from ramshare.settings import HostSettings

pytestmark = pytest.mark.unit

LXCFS = """\
MemTotal:        2097152 kB
MemFree:          861524 kB
MemAvailable:    1661524 kB
Cached:           925892 kB
SwapTotal:             0 kB
SwapFree:       18446744073709551488 kB
"""
VMSTAT = "pswpin 1\npswpout 2\npgmajfault 3\n"


def proc(directory: Path, meminfo: str | bytes = LXCFS, vmstat: str | bytes | None = VMSTAT, psi: str = "") -> Path:
    for name, text in (("meminfo", meminfo), ("vmstat", vmstat), ("pressure/memory", psi or None)):
        if text is not None:
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return directory


def sampled(directory: Path) -> Memory:
    return MemorySampler(5.0, proc=directory).sample()


def test_free_swap_of_minus_a_little_is_no_swap(tmp_path: Path) -> None:
    memory = sampled(proc(tmp_path))
    assert (memory.swap_total_bytes, memory.swap_used_bytes) == (0, 0)
    assert (memory.total_bytes, memory.available_bytes) == (2097152 * 1024, 1661524 * 1024)


@pytest.mark.parametrize("field", ["MemFree", "MemAvailable", "Cached", "SwapFree"])
def test_no_part_is_more_than_its_whole(tmp_path: Path, field: str) -> None:
    text = "\n".join(line if not line.startswith(field) else f"{field}: 99999999 kB" for line in LXCFS.splitlines())
    info = read_memory(proc(tmp_path, text))
    assert max(info.free_bytes, info.available_bytes, info.cached_bytes) <= info.total_bytes
    assert info.swap_free_bytes <= info.swap_total_bytes
    assert info.used_bytes >= 0


@pytest.mark.parametrize("field", ["MemFree", "MemAvailable", "Cached", "SwapTotal", "SwapFree"])
@pytest.mark.parametrize("instead", [None, "{}:", "{}: many kB", "{}: -5 kB", "{}", "{}: 1²  kB"])
def test_a_field_that_is_missing_or_says_nothing_counts_as_none(
    tmp_path: Path, field: str, instead: str | None
) -> None:
    lines = [line for line in LXCFS.splitlines() if not line.startswith(field)]
    memory = sampled(proc(tmp_path, "\n".join([*lines, *([instead.format(field)] if instead else [])])))
    assert memory.available_bytes <= memory.total_bytes
    assert memory.swap_used_bytes == 0


def test_numbers_without_a_unit_are_kibibytes_too(tmp_path: Path) -> None:
    assert read_memory(proc(tmp_path, LXCFS.replace(" kB", ""))).total_bytes == 2097152 * 1024


@pytest.mark.parametrize("text", ["", "\n", "MemTotal: 0 kB\nMemFree: 0 kB\n", "MemFree: 5 kB\n", b"\xff\xfe", "Mem"])
def test_memory_that_nobody_tells_the_size_of_is_an_error_of_ours(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(MemoryUnreadableError, match="meminfo"):
        sampled(proc(tmp_path, text))


def test_a_missing_meminfo_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(MemoryUnreadableError, match="No such file"):
        read_memory(tmp_path)


@pytest.mark.parametrize("vmstat", [None, "", "pswpin\n", "pswpin x\npswpout -1\n", b"\xff 1\npgmajfault 3\n"])
def test_a_kernel_that_counts_nothing_has_no_swap_traffic(tmp_path: Path, vmstat: str | bytes | None) -> None:
    memory = sampled(proc(tmp_path, vmstat=vmstat))
    assert (memory.swap_in_bytes_s, memory.swap_out_bytes_s, memory.refaults_s) == (0.0, 0.0, None)


def test_counters_that_jump_or_go_back_stay_rates(tmp_path: Path) -> None:
    sampler = MemorySampler(5.0, proc=proc(tmp_path, vmstat="pswpin 5\npswpout 5\nworkingset_refault 9\n"))
    proc(tmp_path, vmstat=f"pswpin 1\npswpout {2**64 - 1}\nworkingset_refault 1\n")
    memory = sampler.sample()
    assert (memory.swap_in_bytes_s, memory.swap_out_bytes_s, memory.refaults_s) == (0.0, 1e15, 0.0)


@pytest.mark.parametrize(
    "psi",
    [
        "some\n",
        "some avg10=0.00 avg60=0.00 avg300=0.00\n",
        "some avg10=x avg60=0.00 avg300=0.00 total=1\n",
        "some avg10=nan avg60=0.00 avg300=0.00 total=1\n",
        "some avg10=-1 avg60=0.00 avg300=0.00 total=1\n",
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        "nothing here",
    ],
)
def test_pressure_that_is_not_told_is_unknown(tmp_path: Path, psi: str) -> None:
    assert read_pressure(proc(tmp_path, psi=psi)) is None
    assert sampled(tmp_path).psi_some_avg10 is None


def test_half_of_the_pressure_is_better_than_none(tmp_path: Path) -> None:
    pressure = read_pressure(proc(tmp_path, psi="some avg10=1.00 avg60=0 avg300=0 total=1\nfull avg10=\n"))
    assert pressure is not None
    assert (pressure.some.avg10, pressure.full) == (1.0, None)


def test_a_monitor_outlives_memory_that_cannot_be_read_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bus = MemoryBus(MemoryBroker(), "guest.web1")
    bus.connect()
    sampler = MemorySampler(5.0, proc=proc(tmp_path, meminfo=""))
    monitor = Monitor(bus, HostSettings(host="web1"), sampler, tidy=lambda: None)
    assert [monitor.tick(), monitor.tick()] == [5.0, 5.0]
    assert [record.message for record in caplog.records if "no report" in record.message] == [
        f"no report: {tmp_path / 'meminfo'} does not say how much memory there is"
    ]


@given(meminfo=st.binary(max_size=300), vmstat=st.binary(max_size=100), psi=st.binary(max_size=100))
def test_any_bytes_are_a_report_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, meminfo: bytes, vmstat: bytes, psi: bytes
) -> None:
    directory = proc(tmp_path_factory.mktemp("proc"), b"MemTotal: 10 kB\n" + meminfo, vmstat, "some")
    (directory / "pressure/memory").write_bytes(psi)
    memory = sampled(directory)
    assert memory.used_bytes + memory.available_bytes == memory.total_bytes
    assert read_counters(directory).swap_in_bytes >= 0


def test_a_row_is_a_name_and_a_whole_number() -> None:
    assert numbers("a: 1 kB\nb 2\nc: -3\nd\n\ne: 4.5\nHugePages_Total:       0\n") == {
        "a": 1,
        "b": 2,
        "HugePages_Total": 0,
    }


# Names that others chose


def test_a_swap_file_may_have_any_name(tmp_path: Path) -> None:
    head = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    (tmp_path / "swaps").write_bytes(head + "/swäp\\040file file 1024 10 -2\n".encode() + b"/s\xff file 8 4 -3\n")
    umlaut, raw = read_swaps(tmp_path)
    assert umlaut.path == "/swäp file"
    assert raw.path.encode(errors="surrogateescape") == b"/s\xff"


def test_swaps_of_a_container_and_lines_that_are_none(tmp_path: Path) -> None:
    lines = [
        "Filename Type Size Used Priority",
        "none virtual 1024 18446744073709551488 0",
        "x y z",
        "a file b c d",
        "",
    ]
    (tmp_path / "swaps").write_text("\n".join(lines))
    [swap] = read_swaps(tmp_path)
    assert (swap.kind, swap.size_bytes, swap.used_bytes) == ("virtual", 1024 * 1024, 1024 * 1024)
    (tmp_path / "swaps").write_text("")
    assert read_swaps(tmp_path) == []


def test_octal_numbers_stand_for_blanks_and_backslashes() -> None:
    assert unescaped(r"/a\040b\134c\011") == "/a b\\c\t"


def test_mounts_of_others_may_have_any_name(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_bytes(b"x /m\xff ext4 rw 0 0\nshort\n\nramshare /run/ram\\040share ramfs rw 0 0\n")
    assert Ramdisk(FakeRunner(), Path("/run/ram share"), mounts=mounts).filesystem() == "ramfs"


def test_devices_sessions_groups_and_libraries_of_others_may_have_any_name(tmp_path: Path) -> None:
    foreign, ours = tmp_path / "block/dm-0", tmp_path / "block/dm-1"
    for entry, name in ((foreign, b"w\xff"), (ours, b"vg0-swap")):
        (entry / "dm").mkdir(parents=True)
        (entry / "dm/name").write_bytes(name)
        (entry / "dm/suspended").write_text("1\n")
        (entry / "inflight").write_text("0 3\n")
        (entry / "stat").write_text("0 0 0 0 7 0\n")
    assert "vg0-swap" in suspended_names(tmp_path)
    assert writes("vg0-swap", tmp_path) == (3, 7)
    (ours / "inflight").write_text("")
    assert writes("vg0-swap", tmp_path) == (0, 0)

    session = tmp_path / "class/iscsi_session/session1"
    session.mkdir(parents=True)
    (session / "targetname").write_bytes(b"iqn.\xff")
    (session / "state").write_bytes(b"LOGGED_IN")
    assert [found.id for found in sessions(tmp_path)] == [1]

    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_bytes(b"0::/w\xff.service\n")
    assert not keep_out_of_swap(tmp_path / "nowhere", tmp_path)
    (tmp_path / "self/smaps").write_bytes(b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 /lib/w\xff.so\n")
    assert let_go(tmp_path) == 0


@pytest.mark.parametrize("text", [None, b"", b"many\n", b"\xff"])
def test_a_kernel_that_does_not_tell_what_it_keeps_free_keeps_nothing(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "sys/vm").mkdir(parents=True)
        (tmp_path / "sys/vm/min_free_kbytes").write_bytes(text)
    (tmp_path / "sys").mkdir(exist_ok=True)
    assert keep_free(1 << 30, tmp_path) == 0


def test_what_psutil_reads_elsewhere_is_left_alone(tmp_path: Path) -> None:
    before = psutil.PROCFS_PATH
    sampled(proc(tmp_path))
    assert before == psutil.PROCFS_PATH
    assert psutil.Process().is_running()
