"""The early warning: called at once when memory gets short, silent where the kernel cannot tell."""

import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.memory_bus import MemoryBroker, MemoryBus
from ramshare.agent import Runtime
from ramshare.linux.memory import read_memory
from ramshare.linux.pressure_watch import FALL_BYTES, FALL_SHARE, Available, Falls, PressureWatch
from ramshare.monitor.agent import Monitor
from ramshare.settings import HostSettings

pytestmark = pytest.mark.unit
MIB = 1 << 20


class FakeTrigger:
    """A TCP socket: urgent data makes it poll POLLPRI, as a pressure file does."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.far = socket.create_connection(server.getsockname())
            self.near, _ = server.accept()
        self.closed = False

    def fire(self) -> None:
        self.far.send(b"!", socket.MSG_OOB)

    def fileno(self) -> int:
        return self.near.fileno()

    def close(self) -> None:
        self.closed = True


def test_it_calls_when_the_trigger_fires_and_ends_when_told() -> None:
    trigger, called = FakeTrigger(), threading.Event()

    def on_rise() -> None:
        trigger.near.recv(1, socket.MSG_OOB)
        called.set()

    watch = PressureWatch(lambda: trigger)
    assert watch.start(on_rise)
    assert not called.is_set()
    for _ in range(2):
        trigger.fire()
        assert called.wait(5.0)
        called.clear()
    watch.stop()
    watch.stop()
    assert trigger.closed


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), OSError(95, os.strerror(95))])
def test_without_psi_a_fall_of_the_available_memory_is_told_all_the_same(error: OSError) -> None:
    def refuse() -> FakeTrigger:
        raise error

    looked, called = threading.Event(), threading.Event()
    available = iter([1000 * MIB, 1000 * MIB])

    def look() -> int:
        looked.set()
        return next(available, 800 * MIB)

    watch = PressureWatch(refuse, look, look_ms=1)
    assert watch.start(called.set)
    assert looked.wait(5.0)
    assert called.wait(5.0)
    watch.stop()


def test_a_kernel_that_does_not_say_what_is_available_is_not_an_error() -> None:
    trigger, called, looked = FakeTrigger(), threading.Event(), threading.Event()

    def look() -> int:
        looked.set()
        raise OSError

    def on_rise() -> None:
        trigger.near.recv(1, socket.MSG_OOB)
        called.set()

    watch = PressureWatch(lambda: trigger, look, look_ms=1)
    watch.start(on_rise)
    assert looked.wait(5.0)
    trigger.fire()
    assert called.wait(5.0)
    watch.stop()


def test_only_a_fall_that_matters_is_told_and_each_but_once() -> None:
    falls = Falls()
    looks = [400, 396, 360, 349, 349, 340, 300, 1000, 990, 880, 870, 0]
    assert [mib for mib in looks if falls.fell(mib * MIB)] == [349, 300, 870, 0]


def test_the_available_memory_is_read_anew_each_time_and_where_it_is_missing_that_is_said(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  900 kB\nMemFree:   100 kB\nMemAvailable:   500 kB\nBuffers:  1 kB\n")
    look = Available(tmp_path)
    assert look() == 500 * 1024
    meminfo.write_text("MemTotal:  900 kB\nMemFree:   100 kB\nMemAvailable:   400 kB\nBuffers:  1 kB\n")
    assert look() == 400 * 1024
    meminfo.write_text("MemTotal:  900 kB\nMemFree:   100 kB\nBuffers:  1 kB\n")
    with pytest.raises(ValueError, match="not found"):
        look()
    assert abs(Available()() - read_memory().available_bytes) < 1 << 30


@given(st.lists(st.integers(0, 1 << 40), min_size=1))
def test_no_fall_by_an_eighth_goes_untold(looks: list[int]) -> None:
    falls, told = Falls(), 0
    for available in looks:
        if falls.fell(available):
            told = available
        told = max(told, available)
        assert available > told - max(FALL_BYTES, told * FALL_SHARE)


def test_a_monitor_reports_at_once_when_memory_gets_short() -> None:
    class Hand:
        def start(self, on_rise: object) -> bool:
            self.rise = on_rise
            return True

        def stop(self) -> None:
            self.rise = None

    hand, now_s = Hand(), 100.0
    broker = MemoryBroker()
    bus = MemoryBus(broker, "guest.web1")
    bus.connect()

    def reports() -> int:
        return sum(packet.topic.endswith("/memory") for _, packet in broker.published)

    monitor = Monitor(bus, HostSettings(host="web1"), watch=hand, tidy=lambda: None, runtime=Runtime(lambda: now_s))
    monitor.start()
    monitor.turn()
    monitor.turn()
    assert reports() == 1
    now_s += 1.0
    hand.rise()  # type: ignore[operator]
    monitor.turn()
    assert reports() == 2
    monitor.end()
    assert hand.rise is None
