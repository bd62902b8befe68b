"""The loop starts no process and reads no file: whatever does runs as a job of the worker."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from kit.borrowing_host import Host
from kit.hands import VOLUME, ModelHost
from kit.memory_bus import MemoryBus
from kit.world import FakeLender, HandWorker, World
from ramshare.agent import Runtime
from ramshare.borrower.agent import Borrower
from ramshare.borrower.machine.api import Machine
from ramshare.manager.agent import Manager
from ramshare.messages.requests import BorrowVolume, ReturnVolume, Vacate
from ramshare.messages.state import Mode
from ramshare.settings import AllowedVolume, BorrowerSettings, ManagerSettings

pytestmark = pytest.mark.unit

T = TypeVar("T")


class MarkedWorker(HandWorker):
    """Knows whether a job is running."""

    busy = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        def job() -> T:
            self.busy = True
            try:
                return fn(*args, **kwargs)
            finally:
                self.busy = False

        return super().submit(job)


class Watched:
    """Stands before a part of the machine and notes who calls it."""

    def __init__(self, part: object, name: str, note: Callable[[str], None]) -> None:
        self._part = part
        self._name = name
        self._note = note

    def __call__(self, *args: Any, **named: Any) -> Any:
        self._note(self._name)
        return self._part(*args, **named)  # type: ignore[operator]

    def __getattr__(self, name: str) -> "Watched":
        return Watched(getattr(self._part, name), f"{self._name}.{name}", self._note)


class Scene(World):
    """A borrower whose every touch of the machine is noted, a lender and a manager."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__()
        self.borrowers_worker = MarkedWorker()
        self.on_worker: set[str] = set()
        self.on_loop: set[str] = set()
        self.model = Host(4)
        machine = ModelHost(self.model, self.session).machine(directory)
        parts = {f.name: getattr(machine, f.name) for f in fields(machine)}
        key = parts.pop("public_key")
        del parts["guest_disks"]  # nobody to ask; a hypervisor has a worker of its own
        watched = {name: Watched(part, name, self.note) for name, part in parts.items()}

        def borrower(bus: MemoryBus, runtime: Runtime) -> Borrower:
            mine = Runtime(clock=runtime.clock, worker=lambda _name: self.borrowers_worker)
            return Borrower(
                bus,
                BorrowerSettings(directory=directory, **settings),
                Machine(**cast("Any", watched), public_key=key),
                mine,
            )

        def lender(bus: MemoryBus, runtime: Runtime) -> FakeLender:
            self.lent = FakeLender(bus, runtime, 9)
            return self.lent

        self.start(lender, "lender.x")
        tiny = ManagerSettings(least_lease_bytes=1)
        self.start(lambda bus, runtime: Manager(bus, runtime, tiny), "manager")
        self.start(borrower, "borrower.b")
        self.advance(5)

    def note(self, name: str) -> None:
        (self.on_worker if self.borrowers_worker.busy else self.on_loop).add(name)

    def session(self, lease: str, is_open: bool) -> None:
        if lease in self.lent.exports:
            self.lent.exports[lease] = self.lent.exports[lease].model_copy(update={"connected": is_open})


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    assert scene.errors.seen == []


def test_one_that_may_borrow_by_itself_takes_a_look_at_swap_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path, auto={VOLUME: AllowedVolume(Mode.MIRROR)})
    scene.advance(5)
    assert scene.on_loop == {
        "sessions_changed",
        "suspended.start",
        "suspended.mind",
        "swap_watch.look",
        "swap_watch.memory",
    }
    scene.close()


def test_only_the_worker_touches_the_machine_but_for_one_look_at_the_sessions(scene: Scene) -> None:
    cli = scene.bus("cli.al")
    cli.ask("borrower.b", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR), 60.0)
    scene.advance(20)
    (lease,) = scene.lent.exports
    scene.lent.bus.ask("borrower.b", Vacate.until((lease,), 1, 10.0), 60.0)
    scene.advance(20)
    (dead,) = scene.lent.exports
    scene.lent.silent = True
    scene.model.kill(dead)
    scene.advance(60)
    cli.ask("borrower.b", ReturnVolume(volume=VOLUME), 60.0)
    scene.lent.silent = False
    scene.advance(60)
    assert scene.on_loop == {"sessions_changed", "suspended.start", "suspended.mind"}
    assert scene.on_worker == {
        "start",
        "turn",
        "host.check_borrow",
        "host.terms",
        "host.accept",
        "host.send_home",
        "host.forget_lease",
        "owed.read",
        "owed.write",
    }
