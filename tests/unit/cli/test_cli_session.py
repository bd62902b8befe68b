"""A command's connection: what it knows after the broker was away."""

import pytest

from kit.cli_world import CliWorld, offer
from ramshare.cli.session import Session

pytestmark = pytest.mark.unit


def heard(session: Session) -> list[str]:
    """Take in everything that is queued, and return who is known then."""
    while session.next(0.0) is not None:
        pass
    return session.snapshot.clients()


@pytest.fixture
def world() -> CliWorld:
    world = CliWorld()
    world.lender(offer("hosta"))
    world.lender(offer("hostb"))
    return world


@pytest.fixture
def session(world: CliWorld) -> Session:
    bus = world.bus_type(world.broker, "cli.alice")
    bus.connect()
    session = Session(bus, "broker:1883")
    assert session.collect().settled
    assert heard(session) == ["lender.hosta", "lender.hostb"]
    return session


def test_after_a_broker_that_forgot_only_who_is_still_there_is_known(world: CliWorld, session: Session) -> None:
    world.broker.crash("lender.hostb")
    world.broker.restart(keep=[])
    assert heard(session) == ["lender.hosta"]
    assert session.snapshot.settled


def test_while_the_broker_is_away_what_was_heard_last_stays_known(world: CliWorld, session: Session) -> None:
    world.broker.cut("cli.alice")
    assert heard(session) == ["lender.hosta", "lender.hostb"]
    assert not session.connected


def test_a_connection_that_comes_back_ends_with_a_mark_of_its_own(world: CliWorld, session: Session) -> None:
    """The bus clears the earlier mark again when it is back, before the broker replays anything."""
    world.broker.cut("cli.alice")
    world.broker.reconnect("cli.alice")
    known = []
    while session.next(0.0) is not None:
        known.append(session.snapshot.clients())
    assert all(clients == ["lender.hosta", "lender.hostb"] for clients in known)
    assert session.snapshot.settled
