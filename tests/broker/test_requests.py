"""Requests and replies: matched, timed, repeated, and never believed from the wrong sender."""

import time

import pytest

from kit.broker_worlds import MemoryWorld, World
from ramshare.bus.api import Connected, NotAuthorisedError, RequestArrived, RequestTimeoutError
from ramshare.bus.core import CoreBus
from ramshare.bus.counters import Drop
from ramshare.bus.gate import REFUSED
from ramshare.bus.wire import Packet
from ramshare.messages.replies import AttachReply, ErrorCode, Reply
from ramshare.messages.requests import Announce, BorrowVolume, Drain, ReturnVolume
from ramshare.topics import EVERYBODY


def serve(world: World, server: CoreBus, sentence: str = "Done.") -> RequestArrived:
    """Answer the next request."""
    arrived = world.first(server, RequestArrived)
    server.answer(arrived, Reply(request_id=arrived.request.request_id, sentence=sentence))
    return arrived


def test_a_request_is_answered(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    future = cli.ask("lender.hosta", Drain(), 5)
    arrived = serve(world, lender)
    assert (arrived.client, arrived.verb) == ("cli.alice", "drain")
    assert future.result(world.patience_s).sentence == "Done."


def test_the_reply_keeps_its_own_layout(world: World) -> None:
    cli, borrower = world.bus("cli.alice"), world.bus("borrower.hostb")
    future = cli.ask("borrower.hostb", BorrowVolume(volume="vg0/swap"), 5)
    arrived = world.first(borrower, RequestArrived)
    borrower.answer(arrived, AttachReply(request_id=arrived.request.request_id, leases=("l1",)))
    reply = future.result(world.patience_s)
    assert isinstance(reply, AttachReply)
    assert reply.leases == ("l1",)


def test_answers_may_come_in_any_order(world: World) -> None:
    cli, lender, borrower = (world.bus(name) for name in ("cli.alice", "lender.hosta", "borrower.hostb"))
    first = cli.ask("lender.hosta", Drain(), 5)
    second = cli.ask("borrower.hostb", ReturnVolume(volume="vg0/swap"), 5)
    serve(world, borrower, "second")
    serve(world, lender, "first")
    assert first.result(world.patience_s).sentence == "first"
    assert second.result(world.patience_s).sentence == "second"


def test_no_answer_in_time_is_an_error_that_names_the_server(world: World) -> None:
    cli = world.bus("cli.alice")
    future = cli.ask("lender.hosta", Drain(), 0.2)
    world.wait(0.3)
    with pytest.raises(RequestTimeoutError, match=r"lender\.hosta did not answer drain"):
        future.result(world.patience_s)


def test_an_answer_that_is_too_late_is_dropped_and_counted(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    future = cli.ask("lender.hosta", Drain(), 0.2)
    arrived = world.first(lender, RequestArrived)
    world.wait(0.3)
    with pytest.raises(RequestTimeoutError):
        future.result(world.patience_s)
    lender.answer(arrived, Reply(request_id=arrived.request.request_id))
    assert world.everything(cli) == [Connected()]
    assert cli.counters[Drop.UNEXPECTED] == 1


def test_the_same_request_twice_is_delivered_twice_under_one_id(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    request = Drain()
    futures = [cli.ask("lender.hosta", request, 5) for _ in range(2)]
    ids = {serve(world, lender).request.request_id for _ in range(2)}
    assert ids == {request.request_id}
    assert [future.result(world.patience_s).ok for future in futures] == [True, True]


def test_a_reply_from_another_server_is_not_accepted(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    future = cli.ask("lender.hosta", Drain(), 5)
    arrived = world.first(lender, RequestArrived)
    forged = Reply(request_id=arrived.request.request_id, sentence="Forged.").to_json()
    world.publish("lender.loud", "ramshare/v1/reply/cli.alice/lender.hosta", forged)  # refused by the broker
    world.publish("lender.loud", "ramshare/v1/reply/cli.alice/lender.loud", forged)  # delivered, and not believed
    world.everything(cli)
    assert not future.done()
    assert cli.counters[Drop.UNEXPECTED] == 1
    lender.answer(arrived, Reply(request_id=arrived.request.request_id, sentence="True."))
    assert future.result(world.patience_s).sentence == "True."


def test_a_request_in_anothers_name_is_refused_by_the_broker(world: World) -> None:
    lender = world.bus("lender.hosta")
    world.publish("guest.web1", "ramshare/v1/request/lender.hosta/cli.alice/drain", Drain().to_json())
    assert world.everything(lender) == [Connected()]


def test_a_peer_without_correlation_data_is_served_by_the_requests_id(world: World) -> None:
    lender = world.bus("lender.hosta")
    world.publish(
        "cli.alice", "ramshare/v1/request/lender.hosta/cli.alice/drain", Drain(request_id="abcd-1234").to_json()
    )
    assert world.first(lender, RequestArrived).correlation == b"abcd-1234"


def test_a_broadcast_reaches_everybody_but_its_sender_and_has_no_reply(world: World) -> None:
    manager, lender, borrower = (world.bus(name) for name in ("manager", "lender.hosta", "borrower.hostb"))
    assert manager.ask(EVERYBODY, Announce(), 5).done()
    for bus in (lender, borrower):
        arrived = world.first(bus, RequestArrived)
        assert (arrived.client, arrived.verb) == ("manager", "announce")
    assert world.everything(manager) == [Connected()]


def test_a_malformed_request_gets_an_answer_that_says_so(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    correlation, waiting = cli._pending.open("lender.hosta", "drain", "bad!", 5, cli._clock())
    assert correlation
    payload = b'{"schema": "drain/1", "request_id": "bad!"}'
    world.publish("cli.alice", "ramshare/v1/request/lender.hosta/cli.alice/drain", payload)
    with pytest.raises(TimeoutError):  # a reply without the right correlation is not taken for ours
        waiting.future.result(0.2)
    assert lender.counters[Drop.MALFORMED] == 1


@pytest.mark.unit
def test_an_unknown_verb_that_a_broker_lets_through_is_answered_with_bad_request() -> None:
    world = MemoryWorld()
    world.broker.lax = True
    lender, cli = world.bus("lender.hosta"), world.bus("cli.alice")
    correlation, waiting = cli._pending.open("lender.hosta", "fly", "", 5, cli._clock())
    with cli.lock:
        cli._link.send(
            Packet("ramshare/v1/request/lender.hosta/cli.alice/fly", b"{}", correlation=correlation, expiry_s=5)
        )
    reply = waiting.future.result(world.patience_s)
    assert reply.error is ErrorCode.BAD_REQUEST
    assert lender.counters[Drop.FOREIGN] == 1


def test_a_request_made_while_cut_is_sent_when_the_connection_is_back(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    world.cut(cli)
    future = cli.ask("lender.hosta", Drain(), 20)
    world.mend(cli)
    serve(world, lender)
    assert future.result(world.patience_s).ok


def test_a_request_to_a_server_that_is_cut_waits_for_it(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    world.cut(lender)
    future = cli.ask("lender.hosta", Drain(), 20)
    world.settle()
    world.mend(lender)
    serve(world, lender)
    assert future.result(world.patience_s).ok


def test_a_request_is_not_delivered_after_its_time(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    world.cut(lender)
    future = cli.ask("lender.hosta", Drain(), 0.5)
    world.settle()
    world.wait(2.5)  # Mosquitto counts expiry in whole seconds
    world.mend(lender)
    assert not [arrival for arrival in world.everything(lender) if isinstance(arrival, RequestArrived)]
    assert isinstance(future.exception(world.patience_s), RequestTimeoutError)


def test_a_request_made_while_cut_is_not_sent_after_its_time(world: World) -> None:
    cli, lender = world.bus("cli.alice"), world.bus("lender.hosta")
    world.cut(cli)
    cli.ask("lender.hosta", Drain(), 0.5)
    world.wait(1.5)
    world.mend(cli)
    assert not [arrival for arrival in world.everything(lender) if isinstance(arrival, RequestArrived)]


def test_too_many_requests_are_answered_busy() -> None:
    world = MemoryWorld()
    cli = world.bus("cli.alice")
    world.bus("lender.hosta")
    futures = [cli.ask("lender.hosta", Drain(), 5) for _ in range(300)]
    refused = [future.result(0) for future in futures if future.done()]
    assert len(refused) == 300 - 64
    assert {reply.error for reply in refused} == {ErrorCode.BUSY}


def test_closing_fails_what_is_open(world: World) -> None:
    cli = world.bus("cli.alice")
    future = cli.ask("lender.hosta", Drain(), 60)
    before = time.monotonic()
    cli.close()
    with pytest.raises(RequestTimeoutError):
        future.result(0)
    assert time.monotonic() - before < 2


def test_a_publication_that_the_rules_forbid_fails_its_request() -> None:
    world = MemoryWorld()
    cli = world.bus("cli.alice")
    cli.client = "cli.bob"  # writes topics that are not ours
    future = cli.ask("lender.hosta", Drain(), 5)
    with pytest.raises(NotAuthorisedError, match="Not authorized"):
        future.result(0)


@pytest.mark.unit
def test_a_sender_over_its_rate_is_neither_heard_nor_answered_and_others_are() -> None:
    world = MemoryWorld()
    world.broker.lax = True
    lender, guest, cli = world.bus("lender.hosta"), world.bus("guest.web1"), world.bus("cli.alice")
    asked = [guest.ask("lender.hosta", Drain(), 5) for _ in range(100)]
    world.publish("guest.web1", "ramshare/v1/request/lender.hosta/guest.web1/drain", b"not even JSON")
    future = cli.ask("lender.hosta", Drain(), 5)
    heard = [arrival.client for arrival in world.everything(lender) if isinstance(arrival, RequestArrived)]
    assert heard == ["guest.web1", "cli.alice", *["guest.web1"] * (REFUSED.burst - 1)]
    assert not any(waiting.done() for waiting in (*asked, future))
    assert lender.counters.snapshot() == {"flood": 101 - REFUSED.burst}
    world.wait(1.0)
    guest.ask("lender.hosta", Drain(), 5)
    assert world.first(lender, RequestArrived).client == "guest.web1"
