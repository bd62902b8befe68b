"""The early warning: called at once when memory gets short, silent where the kernel cannot tell."""

import os
import socket
import threading

import pytest

from ramshare.bus.memory import MemoryBroker, MemoryBus
from ramshare.linux.pressure_watch import PressureWatch
from ramshare.monitor.agent import Monitor
from ramshare.settings import HostSettings

pytestmark = pytest.mark.unit


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
def test_without_psi_nobody_is_called_and_nothing_fails(error: OSError) -> None:
    def refuse() -> FakeTrigger:
        raise error

    watch = PressureWatch(refuse)
    assert not watch.start(lambda: pytest.fail("nothing can have happened"))
    watch.stop()


def test_a_monitor_reports_at_once_when_memory_gets_short() -> None:
    class Hand:
        def start(self, on_rise: object) -> bool:
            self.rise = on_rise
            return True

        def stop(self) -> None:
            self.rise = None

    hand, now_s = Hand(), 100.0
    bus = MemoryBus(MemoryBroker(), "guest.web1")
    bus.connect()
    sent: list[str] = []
    bus.set_state = lambda path, message: sent.append(path)  # type: ignore[method-assign]
    monitor = Monitor(bus, HostSettings(host="web1"), watch=hand, tidy=lambda: None)
    monitor.clock = lambda: now_s
    monitor.start()
    monitor.turn()
    monitor.turn()
    assert sent.count("memory") == 1
    now_s += 1.0
    hand.rise()  # type: ignore[operator]
    monitor.turn()
    assert sent.count("memory") == 2
    monitor.end()
    assert hand.rise is None
