"""What every agent may rely on: each request answered once, nothing that arrives stops it, time is only its clock's."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.memory_bus import MemoryBus
from kit.world import World
from ramshare.agent import Agent, Runtime
from ramshare.bus.api import EventArrived, RequestArrived, StateArrived
from ramshare.desk import MAX_COPIES, MAX_OPEN, REMEMBERED_REPLIES, Desk, RefusedError
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import Announce, Drain, ReleaseLease, Request, Undrain
from ramshare.messages.state import Status

pytestmark = pytest.mark.unit


class Clerk(Agent):
    """Drains when told so and counts; `tick` and `answer` can be made to fail."""

    def __init__(self, bus: MemoryBus, runtime: Runtime) -> None:
        super().__init__(bus, runtime)
        self.calls: list[str] = []
        self.seen: list[str] = []
        self.ticks = 0
        self.every_s = 10.0
        self.fail: Exception | None = None
        self.once_more = False

    def begin(self) -> None:
        self.handle(Drain, self._drain)
        self.bus.watch_state("+", "#")
        self.bus.watch_events()

    def tick(self) -> float:
        self.ticks += 1
        if self.fail:
            raise self.fail
        if self.once_more:
            self.once_more = False
            self.soon()
        return self.every_s

    def on_state(self, arrived: StateArrived) -> None:
        self.seen.append(f"{arrived.client}/{arrived.path}")
        if arrived.path == "offer":
            raise ValueError("cannot bear offers")

    def on_event(self, arrived: EventArrived) -> None:
        self.seen.append(arrived.kind)

    def _drain(self, arrived: RequestArrived[Drain]) -> Reply | None:
        self.calls.append(arrived.client)
        if self.fail:
            raise self.fail
        return Reply(request_id=arrived.request.request_id, sentence=f"call {len(self.calls)}")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.broker.lax = True  # the clerk hears everybody, which no role of its name may
    yield world
    world.close()


@pytest.fixture
def clerk(world: World) -> Clerk:
    clerk = world.start(Clerk, "lender.hosta")
    assert isinstance(clerk, Clerk)
    world.settle()
    return clerk


def ask(world: World, client: str, request: Request, server: str = "lender.hosta") -> "Future[Reply]":
    bus = world.bus(client) if client not in world.__dict__.setdefault("buses", {}) else world.__dict__["buses"][client]
    world.__dict__["buses"][client] = bus
    future: Future[Reply] = bus.ask(server, request, 5.0)
    world.settle()
    return future


# ---- online means served


class Listener(Clerk):
    """Watches one client more."""

    def begin(self) -> None:
        self.handle(Drain, self._drain)
        self.bus.watch_state("guest.web1", "memory")


def test_an_agent_is_online_when_the_broker_has_taken_every_subscription_of_its_own(world: World) -> None:
    world.broker.holds_subscriptions = True
    world.start(Listener, "lender.hosta")
    world.settle()
    for _ in range(5):  # replies, own requests, requests to everybody, the broker's counter, a guest's memory
        assert world.state("lender.hosta", "status") is None
        world.broker.answer_subscriptions(1)
    assert isinstance(world.state("lender.hosta", "status"), Status)


def test_an_agent_that_reconnects_is_online_when_it_is_heard_again(world: World) -> None:
    def births() -> int:
        return sum(author == "lender.hosta" and "/status" in packet.topic for author, packet in world.broker.published)

    world.start(Listener, "lender.hosta")
    world.settle()
    before = births()
    world.broker.holds_subscriptions = True
    world.broker.cut("lender.hosta")
    world.broker.reconnect("lender.hosta")
    world.settle()
    world.advance(Clerk.heartbeat_s)
    assert births() == before
    world.broker.answer_subscriptions()
    assert births() == before + 1


def test_an_agent_that_cannot_begin_never_says_online(world: World) -> None:
    class Unable(Clerk):
        def begin(self) -> None:
            raise RamshareError("no tgtd here")

    with pytest.raises(RamshareError):
        world.start(Unable, "lender.hosta")
    world.settle()
    assert world.state("lender.hosta", "status") is None


# ---- one answer a request


def test_the_same_request_twice_has_one_effect_and_one_answer(world: World, clerk: Clerk) -> None:
    request = Drain()
    first, second = ask(world, "cli.al", request), ask(world, "cli.al", request)
    assert first.result().sentence == second.result().sentence == "call 1"
    assert clerk.calls == ["cli.al"]


def test_the_same_id_from_somebody_else_or_with_another_verb_is_another_request(world: World, clerk: Clerk) -> None:
    request = Drain()
    ask(world, "cli.al", request)
    assert ask(world, "cli.eve", request).result().sentence == "call 2"
    other = ask(world, "cli.al", Undrain(request_id=request.request_id)).result()
    assert other.error is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("code", [ErrorCode.NOT_READY, ErrorCode.BUSY])
def test_a_request_that_was_told_to_come_again_may_come_again(world: World, clerk: Clerk, code: ErrorCode) -> None:
    request = Drain()
    clerk.fail = RefusedError(code, "come again")
    assert ask(world, "cli.al", request).result().error is code
    clerk.fail = None
    assert ask(world, "cli.al", request).result().ok


def test_a_final_refusal_is_repeated_like_any_answer(world: World, clerk: Clerk) -> None:
    request = Drain()
    clerk.fail = RefusedError(ErrorCode.CONFLICT, "no")
    ask(world, "cli.al", request)
    clerk.fail = None
    assert ask(world, "cli.al", request).result().error is ErrorCode.CONFLICT
    assert len(clerk.calls) == 1


class Answers:
    """Records what a desk sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str]] = []

    def __call__(self, arrived: RequestArrived, reply: Reply) -> None:
        self.sent.append((arrived.correlation, reply.sentence))


def arrived(request_id: str, copy: int = 0, client: str = "cli.al") -> RequestArrived:
    return RequestArrived(client, "drain", Drain(request_id=request_id), f"{request_id}/{copy}".encode())


@given(st.lists(st.tuples(st.sampled_from(["ask", "settle"]), st.integers(0, 4)), max_size=60))
def test_every_copy_of_a_request_gets_exactly_one_and_the_same_answer(script: list[tuple[str, int]]) -> None:
    answers = Answers()
    desk = Desk(answers)
    asked: dict[int, int] = {}
    admitted: dict[int, int] = {}
    settled: set[int] = set()
    for what, number in script:
        request_id = f"request-{number}"
        if what == "ask":
            asked[number] = asked.get(number, 0) + 1
            admitted[number] = admitted.get(number, 0) + desk.admit(arrived(request_id, asked[number]))
        elif number in admitted and number not in settled:
            settled.add(number)
            desk.settle(arrived(request_id), Reply(request_id=request_id, sentence=f"answer to {number}"))
    assert all(times == 1 for times in admitted.values())
    expected = sorted(
        (f"request-{n}/{copy}".encode(), f"answer to {n}") for n in settled for copy in range(1, asked[n] + 1)
    )
    assert sorted(answers.sent) == expected


def test_the_desk_does_not_grow_for_ever() -> None:
    desk = Desk(Answers())
    for number in range(REMEMBERED_REPLIES + 50):
        request = arrived(f"request-{number}")
        assert desk.admit(request)
        desk.settle(request, Reply(request_id=request.request.request_id))
    assert desk.admit(arrived("request-0")), "forgotten, so new"
    assert not desk.admit(arrived(f"request-{REMEMBERED_REPLIES}"))


def test_who_may_not_ask_pushes_nobodys_answer_out_of_memory() -> None:
    answers = Answers()
    desk = Desk(answers)
    desk.admit(arrived("request-1"))
    desk.settle(arrived("request-1"), Reply(request_id="request-1", sentence="first"))
    for number in range(REMEMBERED_REPLIES + 50):
        forbidden = arrived(f"flood-{number:06}", client="guest.web1")
        desk.admit(forbidden)
        desk.refuse(forbidden, RefusedError(ErrorCode.NOT_ALLOWED, "no"))
    assert not desk.admit(arrived("request-1"))
    assert answers.sent[-1][1] == "first"


def test_one_clients_open_requests_are_bounded_and_anothers_are_served() -> None:
    answers = Answers()
    desk = Desk(answers)
    admitted = sum(desk.admit(arrived(f"request-{number}")) for number in range(MAX_OPEN + 10))
    assert admitted == MAX_OPEN
    assert len(answers.sent) == 10
    assert "ask again" in answers.sent[0][1]
    assert desk.admit(arrived("request-1", client="cli.eve"))
    desk.settle(arrived("request-0"), Reply(request_id="request-0"))
    assert desk.admit(arrived(f"request-{MAX_OPEN}")), "a place became free"


def test_a_request_repeated_without_end_is_answered_so_often_and_no_more() -> None:
    answers = Answers()
    desk = Desk(answers)
    for copy in range(1000):
        desk.admit(arrived("request-1", copy))
    desk.settle(arrived("request-1"), Reply(request_id="request-1"))
    assert len(answers.sent) == MAX_COPIES


def test_a_request_keeps_the_answer_that_it_has() -> None:
    answers = Answers()
    desk = Desk(answers)
    request = arrived("request-1")
    desk.admit(request)
    for sentence in ("first", "second"):
        desk.settle(request, Reply(request_id="request-1", sentence=sentence))
    desk.admit(request)
    assert [sentence for _, sentence in answers.sent] == ["first", "first"]


def test_what_is_held_for_a_request_is_freed_with_its_answer_whatever_that_is() -> None:
    desk = Desk(Answers())
    freed: list[ErrorCode | None] = []
    for number, error in enumerate((None, ValueError("no"))):
        request = arrived(f"request-{number}")
        desk.admit(request)
        desk.when_answered(request, lambda reply: freed.append(reply.error))
        with desk.serving(request):
            if error:
                raise error
            desk.settle(request, Reply(request_id=request.request.request_id))
    assert freed == [None, ErrorCode.FAILED]


def test_an_answer_that_cannot_be_sent_becomes_a_refusal() -> None:
    sent: list[Reply] = []

    def answer(_arrived: RequestArrived, reply: Reply) -> None:
        if reply.ok:
            raise RamshareError("70000 bytes, the limit is 65536")
        sent.append(reply)

    desk = Desk(answer)
    for copy in range(2):
        desk.admit(arrived("request-1", copy))
    desk.settle(arrived("request-1"), Reply(request_id="request-1"))
    assert [(reply.error, "limit" in reply.sentence) for reply in sent] == [(ErrorCode.FAILED, True)] * 2


# ---- who may ask


@pytest.mark.parametrize("client", ["lender.hostb", "borrower.hostb", "manager", "guest.web1"])
def test_a_verb_is_refused_to_roles_that_may_not_use_it(world: World, clerk: Clerk, client: str) -> None:
    reply = ask(world, client, Drain()).result()
    assert reply.error is ErrorCode.NOT_ALLOWED
    assert client in reply.sentence
    assert clerk.calls == []


def test_a_verb_that_the_agent_has_no_handler_for_is_refused(world: World, clerk: Clerk) -> None:
    assert ask(world, "borrower.b", ReleaseLease(lease="l1")).result().error is ErrorCode.BAD_REQUEST


def test_only_a_manager_makes_everybody_speak(world: World, clerk: Clerk) -> None:
    def statuses() -> int:
        return sum(1 for author, p in world.broker.published if author == "lender.hosta" and "status" in p.topic)

    before = statuses()
    world.bus("cli.al").ask("all", Announce(), 1.0)
    world.settle()
    assert statuses() == before
    world.bus("manager").ask("all", Announce(), 1.0)
    world.settle()
    assert statuses() > before


# ---- nothing stops it


class Slow(Agent):
    """Answers after a job, a question to somebody else and another job; each may raise, and so may what hears of it."""

    breaks = ""

    def begin(self) -> None:
        self.handle(Drain, self._drain)

    def tick(self) -> float:
        return 60.0

    def _maybe(self, seam: str) -> None:
        if self.breaks == seam:
            raise ZeroDivisionError(seam)

    def _drain(self, arrived: RequestArrived[Drain]) -> Reply | None:
        def first(outcome: Exception | None) -> None:
            self._maybe("first callback")
            self._raise(outcome)
            self.ask("lender.nobody", Drain(), 1.0, asked)

        def asked(_reply: Reply | Exception) -> None:
            self._maybe("callback of a question")
            self.work(lambda: self._maybe("second job"), second)

        def second(outcome: Exception | None) -> None:
            self._raise(outcome)
            self._maybe("last callback")
            self.desk.settle(arrived, Reply(request_id=arrived.request.request_id))
            self._maybe("after the answer")

        self.work(lambda: self._maybe("first job"), first)
        self._maybe("handler, after its job was begun")
        return None

    def _raise(self, outcome: Exception | None) -> None:
        if isinstance(outcome, Exception):
            raise outcome


SEAMS = (
    "handler, after its job was begun",
    "first job",
    "first callback",
    "callback of a question",
    "second job",
    "last callback",
)


@pytest.mark.parametrize("seam", ["", *SEAMS, "after the answer"])
def test_whatever_fails_on_the_way_to_an_answer_becomes_the_answer(world: World, seam: str) -> None:
    slow = world.start(Slow, "lender.hosta")
    assert isinstance(slow, Slow)
    slow.breaks = seam
    future = world.bus("cli.al").ask("lender.hosta", Drain(), 60.0)
    world.advance(3.0)
    assert future.result(0).error is (ErrorCode.FAILED if seam in SEAMS else None)
    assert seam not in SEAMS or seam in future.result(0).sentence
    slow.breaks = ""
    again = world.bus("cli.al").ask("lender.hosta", Drain(), 60.0)
    world.advance(3.0)
    assert again.result(0).ok


def test_what_is_to_be_first_goes_before_all_that_waits_and_each_job_runs_once(world: World, clerk: Clerk) -> None:
    done: list[str] = []
    world.worker.hold()
    for number in range(3):
        clerk.work(lambda number=number: done.append(f"made {number}"), lambda _outcome: None)  # type: ignore[misc]
    clerk.work(lambda: done.append("removed"), lambda _outcome: None, first=True)
    world.worker.go_on()
    world.settle()
    assert done == ["removed", "made 0", "made 1", "made 2"]


def test_a_callback_that_belongs_to_no_request_harms_none(world: World, clerk: Clerk) -> None:
    clerk.work(lambda: None, lambda _outcome: 1 / 0)  # type: ignore[arg-type]
    world.settle()
    assert ask(world, "cli.al", Drain()).result().ok


def test_a_handler_that_fails_answers_so_and_the_agent_goes_on(world: World, clerk: Clerk) -> None:
    clerk.fail = ZeroDivisionError("oops")
    reply = ask(world, "cli.al", Drain()).result()
    assert reply.error is ErrorCode.FAILED
    clerk.fail = None
    assert ask(world, "cli.al", Drain()).result().ok


def test_a_handler_that_fails_at_length_still_answers(world: World, clerk: Clerk) -> None:
    clerk.fail = RefusedError(ErrorCode.CONFLICT, "x" * 5000)
    assert ask(world, "cli.al", Drain()).result().error is ErrorCode.CONFLICT


def test_a_state_that_cannot_be_borne_is_passed_over(world: World, clerk: Clerk) -> None:
    other = world.bus("guest.web1")
    world.broker.publish("lender.hostb", "ramshare/v1/state/lender.hostb/offer", b"{not json", retain=True)
    other.set_state("status", Status(status="online"))
    clerk.turn()
    assert "guest.web1/status" in clerk.seen


@given(
    st.binary(max_size=200),
    st.sampled_from(["state/guest.g/memory", "event/guest.g/step", "request/lender.hosta/cli.al/drain"]),
)
@settings(max_examples=50, deadline=None)
def test_no_payload_stops_an_agent(payload: bytes, rest: str) -> None:
    world = World()
    clerk = world.start(Clerk, "lender.hosta")
    world.broker.publish(rest.split("/")[1 if "request" not in rest else 2], f"ramshare/v1/{rest}", payload)
    world.settle()
    assert ask(world, "cli.bo", Drain()).result().ok
    assert isinstance(clerk, Clerk)
    assert world.errors.seen == []
    world.close()


def test_an_agent_that_cannot_begin_ends_and_says_why(world: World) -> None:
    class Unable(Clerk):
        ended = False

        def begin(self) -> None:
            raise RamshareError("no tgtd here")

        def end(self) -> None:
            self.ended = True

    agent = Unable(world.bus("lender.hostz"), world.runtime)
    with pytest.raises(RamshareError, match="no tgtd here"):
        agent.run()
    assert agent.ended


# ---- time


def test_ticks_come_when_the_last_one_said_so(world: World, clerk: Clerk) -> None:
    assert clerk.ticks == 1
    world.advance(9.5)
    assert clerk.ticks == 1
    world.advance(1.0)
    assert clerk.ticks == 2


def test_what_never_ceases_to_arrive_does_not_keep_an_agent_from_its_ticks(world: World) -> None:
    class Flooded(Clerk):
        def on_state(self, arrived: StateArrived) -> None:
            world.broker.now_s += 0.1
            world.broker.publish("guest.web1", "ramshare/v1/state/guest.web1/status", b"", retain=True)

    agent = world.start(Flooded, "lender.hosta")
    assert isinstance(agent, Flooded)
    world.broker.publish("guest.web1", "ramshare/v1/state/guest.web1/status", b"", retain=True)
    agent.turn()
    before = agent.ticks
    for _ in range(20):
        agent.turn()
    assert agent.ticks > before
    assert agent._wake.is_set(), "the next turn comes at once"


def test_a_tick_that_fails_comes_again_within_seconds(world: World, clerk: Clerk) -> None:
    clerk.fail = ValueError("for once")
    world.advance(10.0)
    clerk.fail = None
    before = clerk.ticks
    world.advance(1.5)
    assert clerk.ticks == before + 1


def test_a_tick_may_ask_for_another_one_at_once(world: World, clerk: Clerk) -> None:
    clerk.once_more = True
    world.advance(10.25)
    assert clerk.ticks == 3


def test_an_agent_says_that_it_is_alive_once_a_heartbeat(world: World, clerk: Clerk) -> None:
    def beats() -> int:
        return sum(1 for author, p in world.broker.published if author == "lender.hosta" and "status" in p.topic)

    before = beats()
    world.advance(clerk.heartbeat_s * 3)
    assert beats() - before == 3


def test_states_that_came_before_a_reply_are_seen_before_it(world: World, clerk: Clerk) -> None:
    """A lender publishes an export and then grants it; whoever asked must know the export when it hears the grant."""
    order: list[str] = []
    clerk.seen = order

    class Giver(Clerk):
        def _drain(self, arrived: RequestArrived[Drain]) -> Reply | None:
            self.bus.set_state("status", Status(status="online", version="new"))
            return Reply(request_id=arrived.request.request_id)

        def begin(self) -> None:
            self.handle(Drain, self._drain)

    world.start(Giver, "lender.hostb")
    world.settle()
    asker = world.start(Clerk, "cli.al")
    assert isinstance(asker, Clerk)
    world.settle()
    asker.seen.clear()
    asker.ask("lender.hostb", Drain(), 5.0, lambda _reply: asker.seen.append("reply"))
    world.settle()
    assert asker.seen.index("lender.hostb/status") < asker.seen.index("reply")


def test_an_unanswered_question_comes_back_as_an_error(world: World, clerk: Clerk) -> None:
    outcome: list[Any] = []
    clerk.ask("lender.nobody", Drain(), 5.0, outcome.append)
    world.advance(6.0)
    assert isinstance(outcome[0], RamshareError)
