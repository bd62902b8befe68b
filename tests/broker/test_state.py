"""Retained state: seen by who watches, replayed to who comes late, published again by its owner, gone when cleared."""

import pytest

from kit.broker_worlds import MemoryWorld, World
from kit.sample_messages import event, export, lease, memory
from ramshare.bus.api import Connected, Disconnected, EventArrived, RequestArrived, StateArrived
from ramshare.bus.core import CoreBus
from ramshare.contract.examples import EXAMPLES
from ramshare.messages.base import Message
from ramshare.messages.requests import Drain
from ramshare.messages.state import Export, Lease, Memory, Status
from ramshare.topics import BadTopicError


def used(message: Message | None) -> int:
    assert isinstance(message, Memory)
    return message.used_bytes


def statuses(world: World, bus: CoreBus) -> list[str]:
    """Every status that is on its way to `bus`."""
    found = [arrival.message for arrival in world.everything(bus) if isinstance(arrival, StateArrived)]
    return [message.status for message in found if isinstance(message, Status)]


def test_a_watcher_sees_a_state_with_who_when_and_in_which_order(world: World) -> None:
    lender, manager = world.bus("lender.hosta"), world.bus("manager")
    manager.watch_state("lender.hosta", "memory")
    world.settle()
    lender.set_state("memory", memory(1))
    lender.set_state("memory", memory(2))
    first, second = (world.first(manager, StateArrived) for _ in range(2))
    assert (first.client, first.path, first.retained) == ("lender.hosta", "memory", False)
    assert (used(first.message), used(second.message)) == (1, 2)
    assert first.message and second.message
    assert first.message.instance == second.message.instance == lender.instance
    assert second.message.seq > first.message.seq
    assert second.message.at >= first.message.at


def test_who_comes_late_gets_the_last_value(world: World) -> None:
    lender = world.bus("lender.hosta")
    lender.set_state("memory", memory(1))
    lender.set_state("memory", memory(2))
    world.settle()
    manager = world.bus("manager")
    manager.watch_state("+", "memory")
    arrived = world.first(manager, StateArrived)
    assert arrived.retained
    assert used(arrived.message) == 2


def test_a_cleared_state_arrives_as_none_and_is_not_replayed(world: World) -> None:
    borrower, manager = world.bus("borrower.hostb"), world.bus("manager")
    manager.watch_state("borrower.hostb", "lease/+")
    world.settle()
    borrower.set_state("lease/l1", lease())
    borrower.set_state("lease/l1", None)
    assert isinstance(world.first(manager, StateArrived).message, Lease)
    gone = world.first(manager, StateArrived)
    assert (gone.path, gone.message) == ("lease/l1", None)
    late = world.bus("dashboard")
    late.watch_state("borrower.hostb", "lease/+")
    assert world.everything(late) == [Connected()]


def test_wildcards_select_one_level_or_the_rest(world: World) -> None:
    lender, manager = world.bus("lender.hosta"), world.bus("manager")
    manager.watch_state("+", "export/+")
    world.settle()
    lender.set_state("memory", memory())
    lender.set_state("export/l1", export())
    seen = [arrival.path for arrival in world.everything(manager) if isinstance(arrival, StateArrived)]
    assert seen == ["export/l1"]


def test_a_watch_ends_when_it_was_undone_as_often_as_done(world: World) -> None:
    lender, manager = world.bus("lender.hosta"), world.bus("manager")
    for _ in range(2):
        manager.watch_state("lender.hosta", "memory")
    manager.unwatch_state("lender.hosta", "memory")
    world.settle()
    lender.set_state("memory", memory(1))
    assert used(world.first(manager, StateArrived).message) == 1
    manager.unwatch_state("lender.hosta", "memory")
    world.settle()
    lender.set_state("memory", memory(2))
    assert not [arrival for arrival in world.everything(manager) if isinstance(arrival, StateArrived)]


def test_events_arrive_and_are_not_stored(world: World) -> None:
    lender, manager = world.bus("lender.hosta"), world.bus("manager")
    manager.watch_events()
    world.settle()
    lender.event("step", event("One."))
    arrived = world.first(manager, EventArrived)
    assert (arrived.client, arrived.kind) == ("lender.hosta", "step")
    late = world.bus("dashboard")
    late.watch_events()
    assert world.everything(late) == [Connected()]


def test_a_message_on_the_wrong_topic_is_refused_at_the_sender(world: World) -> None:
    lender = world.bus("lender.hosta")
    for path, message in (("memory", lease()), ("nonsense", memory()), ("lease/a/b", lease()), ("lease/+", lease())):
        with pytest.raises(BadTopicError):
            lender.set_state(path, message)
    with pytest.raises(BadTopicError):
        lender.event("step", memory())


def test_birth_and_orderly_end_are_seen(world: World) -> None:
    watcher = world.bus("dashboard")
    watcher.watch_state("+", "status")
    world.settle()
    lender = world.bus("lender.hosta")
    world.first(watcher, StateArrived, lambda a: isinstance(a.message, Status) and a.message.status == "online")
    lender.close()
    world.first(watcher, StateArrived, lambda a: isinstance(a.message, Status) and a.message.status == "offline")


def test_a_crash_is_seen_after_the_will_delay(world: World) -> None:
    watcher, lender = world.bus("dashboard"), world.bus("lender.hosta")
    watcher.watch_state("lender.hosta", "status")
    world.settle()
    world.crash(lender)
    world.wait(6)
    assert statuses(world, watcher)[-1] == "offline"


def test_people_leave_no_status_behind(world: World) -> None:
    watcher = world.bus("dashboard")
    watcher.watch_state("+", "status")
    world.settle()
    world.bus("cli.alice").close()
    assert statuses(world, watcher) == []


def test_a_client_that_is_soon_back_is_never_shown_as_offline(world: World) -> None:
    watcher, lender = world.bus("dashboard"), world.bus("lender.hosta")
    watcher.watch_state("lender.hosta", "status")
    world.settle()
    world.cut(lender)
    world.wait(1)
    world.mend(lender)
    world.wait(6)
    assert set(statuses(world, watcher)) == {"online"}


class Eager:
    """A person who asks a lender for something in the moment in which it says `online`."""

    def __init__(self, world: World) -> None:
        self.bus = world.bus("cli.alice")
        self.bus.watch_state("lender.hosta", "status")
        self.bus.on_arrival(self._ask)
        world.settle()

    def _ask(self) -> None:
        while (arrival := self.bus.next(0.0)) is not None:
            message = arrival.message if isinstance(arrival, StateArrived) and not arrival.retained else None
            if isinstance(message, Status) and message.status == "online":
                self.bus.ask("lender.hosta", Drain(), 5.0)


def test_who_asks_in_the_moment_in_which_it_sees_online_is_heard(world: World) -> None:
    Eager(world)
    world.first(world.slow_bus("lender.hosta"), RequestArrived)


def test_who_asks_an_agent_that_is_back_at_a_broker_that_forgot_it_is_heard(world: World) -> None:
    lender = world.slow_bus("lender.hosta")
    eager = Eager(world)
    world.cut(lender)
    world.restart()
    world.back(eager.bus)
    world.mend(lender)
    world.first(lender, RequestArrived)


def test_an_agent_that_died_and_was_started_again_ends_up_online(world: World) -> None:
    watcher, lender = world.bus("dashboard"), world.bus("lender.hosta")
    watcher.watch_state("lender.hosta", "status")
    world.settle()
    world.crash(lender)
    again = world.bus("lender.hosta")
    world.wait(6)
    seen = [a.message for a in world.everything(watcher) if isinstance(a, StateArrived)]
    assert isinstance(seen[-1], Status)
    assert (seen[-1].status, seen[-1].instance) == ("online", again.instance)


def test_the_agent_hears_of_a_lost_and_of_a_new_session(world: World) -> None:
    lender = world.bus("lender.hosta")
    world.first(lender, Connected)
    world.cut(lender)
    assert world.first(lender, Disconnected).reason
    world.mend(lender)
    world.first(lender, Connected)


def test_what_changed_while_cut_is_true_afterwards(world: World) -> None:
    lender, watcher = world.bus("lender.hosta"), world.bus("dashboard")
    lender.set_state("memory", memory(1))
    lender.set_state("export/l1", export())
    world.settle()
    world.cut(lender)
    lender.set_state("memory", memory(2))
    lender.set_state("export/l1", None)
    lender.event("step", event("While cut."))
    watcher.watch_events()
    world.settle()
    world.mend(lender)
    assert world.first(watcher, EventArrived).message.seq
    world.settle()
    late = world.bus("manager")
    late.watch_state("lender.hosta")
    found = {a.path: a.message for a in world.everything(late) if isinstance(a, StateArrived)}
    assert used(found["memory"]) == 2
    assert "export/l1" not in found


def test_a_broker_that_lost_everything_has_it_back_after_the_reconnect(world: World) -> None:
    lender, manager = world.bus("lender.hosta"), world.bus("manager")
    manager.watch_state()
    world.settle()
    lender.set_state("memory", memory(7))
    lender.set_state("export/l1", export())
    world.everything(manager)
    world.restart()
    world.until(manager, Connected)
    world.first(manager, StateArrived, lambda a: (a.client, a.path) == ("lender.hosta", "status"))
    late = world.bus("dashboard")
    late.watch_state("lender.hosta")
    found = {a.path: a.message for a in world.everything(late) if isinstance(a, StateArrived)}
    assert set(found) == {"status", "memory", "export/l1"}
    assert used(found["memory"]) == 7


def test_status_is_published_last_so_that_who_sees_it_has_seen_the_rest(world: World) -> None:
    borrower, manager = world.bus("borrower.hostb"), world.bus("manager")
    for number in range(30):
        borrower.set_state(f"lease/l{number}", lease(f"l{number}"))
    manager.watch_state("borrower.hostb")
    world.everything(manager)
    borrower.republish()
    paths = [a.path for a in world.everything(manager) if isinstance(a, StateArrived)]
    assert len(paths) == 31
    assert paths[-1] == "status"


def test_a_topic_of_ones_own_that_is_cleared_marks_the_end_of_what_came_before(world: World) -> None:
    lender, cli = world.bus("lender.hosta"), world.bus("cli.alice")
    for number in range(20):
        lender.set_state(f"export/e{number}", None)
    world.settle()
    cli.watch_state()
    world.settle()
    for number in range(20):
        lender.set_state(f"export/x{number}", None)
    world.settle()
    cli.set_state("lease/mark-1", None)
    seen = world.until(cli, StateArrived, lambda arrived: arrived.client == "cli.alice")
    paths = [arrived.path for arrived in seen if isinstance(arrived, StateArrived)]
    assert paths[-21:] == [*(f"export/x{number}" for number in range(20)), "lease/mark-1"]


@pytest.mark.unit
def test_a_whole_cluster_that_speaks_at_once_is_heard_in_full() -> None:
    world = MemoryWorld()
    lender, manager = world.bus("lender.hosta"), world.bus("manager")
    manager.watch_state()
    example = EXAMPLES[Export]
    for number in range(3000):
        lender.set_state(f"export/x{number}", example)
    for _ in range(3):
        lender.republish()
    late = world.bus("cli.alice")
    late.watch_state()
    for bus in (manager, late):
        heard = {arrived.path for arrived in world.everything(bus) if isinstance(arrived, StateArrived)}
        assert {f"export/x{number}" for number in range(3000)} <= heard
        assert bus.counters.snapshot() == {}
