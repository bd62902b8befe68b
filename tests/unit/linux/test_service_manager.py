"""Readiness and the watchdog: systemd hears that an agent serves, and that its loop turns, from nobody else."""

import socket
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest

from kit.memory_bus import MemoryBus
from kit.world import World
from ramshare.agent import Agent, Runtime
from ramshare.linux.service_manager import ServiceManager, take_from

pytestmark = pytest.mark.unit

WATCHDOG_S = 30.0
Heard = Callable[[], list[str]]


class Idle(Agent):
    """Has nothing to do for an hour, and then longer."""

    heartbeat_s = 3600.0

    def begin(self) -> None:
        self.bus.watch_state()

    def tick(self) -> float:
        return 3600.0


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notify"


@pytest.fixture
def heard(path: Path) -> Iterator[Heard]:
    """A service manager: what it was told since the last call."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.setblocking(False)

        def told() -> list[str]:
            words = []
            while True:
                try:
                    words.append(listening.recv(4096).decode())
                except BlockingIOError:
                    return words

        yield told


def supervised(path: Path) -> Callable[[MemoryBus, Runtime], Agent]:
    def make(bus: MemoryBus, runtime: Runtime) -> Agent:
        agent = Idle(bus, runtime)
        agent.service_manager = ServiceManager(str(path), WATCHDOG_S)
        return agent

    return make


def test_an_agent_is_ready_when_it_is_online_and_not_before(world: World, path: Path, heard: Heard) -> None:
    world.broker.holds_subscriptions = True
    world.start(supervised(path), "manager")
    world.settle()
    assert "READY=1" not in heard()
    world.broker.answer_subscriptions(10)
    world.settle()
    assert world.state("manager", "status") is not None
    assert "READY=1" in heard()


def test_ready_is_said_once_and_a_lost_broker_shows_in_the_status(world: World, path: Path, heard: Heard) -> None:
    world.start(supervised(path), "manager")
    world.settle()
    heard()
    world.broker.cut("manager")
    world.settle()
    lost = heard()
    assert any(word.startswith("STATUS=disconnected from the broker") for word in lost)
    world.broker.reconnect("manager")
    world.settle()
    again = heard()
    assert "STATUS=online: requests are heard" in again
    assert "READY=1" not in lost + again


def test_a_loop_that_has_nothing_to_do_still_wakes_to_say_that_it_turns(world: World, path: Path, heard: Heard) -> None:
    agent = world.start(supervised(path), "manager")
    world.settle()
    assert agent.nap_s() <= WATCHDOG_S / 3
    heard()
    for _ in range(6):
        world.advance(agent.nap_s())
    assert heard().count("WATCHDOG=1") == 6


def test_a_loop_that_hangs_says_nothing_and_a_worker_that_hangs_does_not_silence_it(
    world: World, path: Path, heard: Heard
) -> None:
    agent = world.start(supervised(path), "manager")
    world.settle()
    heard()
    world.broker.now_s += WATCHDOG_S  # the loop does not turn
    assert heard() == []
    world.worker.hold()
    agent.work(lambda: None, lambda _: None)
    agent.turn()
    assert heard() == ["WATCHDOG=1"]


def test_a_flood_of_turns_is_no_flood_of_words(world: World, path: Path, heard: Heard) -> None:
    agent = world.start(supervised(path), "manager")
    world.settle()
    heard()
    for _ in range(1000):
        agent.turn()
    assert heard() == []


def test_who_started_it_is_taken_from_the_environment_so_that_no_child_speaks_for_it(path: Path, heard: Heard) -> None:
    environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "17", "PATH": "/bin"}
    manager = take_from(environment, pid=17)
    assert manager.alive_every_s == 10.0
    assert environment == {"PATH": "/bin"}
    manager.status("two\nlines\nWATCHDOG=trigger")
    manager.stopping()
    assert heard() == ["STATUS=two lines WATCHDOG=trigger", "STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "18"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": ""},
    ],
)
def test_where_no_watchdog_is_meant_for_us_the_loop_sleeps_as_long_as_it_likes(environment: dict[str, str]) -> None:
    assert take_from(environment, pid=17).alive_every_s == inf


@pytest.mark.parametrize("where", ["/nowhere/at/all", "@ramshare-nobody-listens", "", "x" * 300])
def test_a_service_manager_that_does_not_listen_stops_nothing(where: str) -> None:
    manager = ServiceManager(where, WATCHDOG_S)
    manager.ready()
    manager.alive(0.0)
    manager.stopping()


def test_an_abstract_socket_is_a_socket_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0ramshare-test-of-notify")
        ServiceManager("@ramshare-test-of-notify").ready()
        assert listening.recv(100) == b"READY=1"
