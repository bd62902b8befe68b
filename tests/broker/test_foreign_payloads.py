"""Whatever lies on a topic that an agent reads, the bus lives, and only valid messages come out of it."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.broker_worlds import MemoryWorld, MosquittoWorld, World
from kit.strategies import messages
from ramshare.bus.api import Connected, EventArrived, RequestArrived, StateArrived
from ramshare.bus.core import CoreBus
from ramshare.bus.counters import Drop
from ramshare.contract.examples import EXAMPLES
from ramshare.messages.base import MAX_PAYLOAD_BYTES, Message
from ramshare.messages.events import Event
from ramshare.messages.replies import REPLIES, Grant, Reply
from ramshare.messages.requests import Drain
from ramshare.messages.state import Status
from ramshare.topics import EventTopic, RequestTopic, StateTopic, model_of

ME = "lender.hosta"
ROOT = "ramshare/v1"
MARK = b"sEcReT-mArK"

SEGMENTS = st.one_of(
    st.sampled_from(["memory", "status", "offer", "export", "lease", "volume", "l1", "vg0", "host", "summary"]),
    # Mosquitto disconnects a client whose topic holds control or non-characters, so those never get here
    st.text(st.characters(max_codepoint=0x2FFF, exclude_characters="/+#", exclude_categories=["Cc"]), min_size=1),
)
TOPICS = st.one_of(
    # (author, topic): what the access rules let these authors write, and the lender reads
    st.tuples(
        st.just("lender.loud"),
        st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: f"{ROOT}/state/lender.loud/{'/'.join(parts)}"),
    ),
    st.tuples(st.just("manager"), SEGMENTS.map(lambda part: f"{ROOT}/state/manager/{part}")),
    st.tuples(st.just("lender.loud"), SEGMENTS.map(lambda kind: f"{ROOT}/event/lender.loud/{kind}")),
    st.tuples(
        st.just("cli.alice"),
        st.sampled_from(["drain", "undrain", "export", "release", "announce", "fly"]).map(
            lambda verb: f"{ROOT}/request/{ME}/cli.alice/{verb}"
        ),
    ),
    st.tuples(st.just("manager"), SEGMENTS.map(lambda verb: f"{ROOT}/request/all/manager/{verb}")),
    st.tuples(st.just("manager"), st.just(f"{ROOT}/reply/{ME}/manager")),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A valid message with one field replaced, removed or added, or with bytes cut off."""
    fields = json.loads(draw(st.sampled_from(sorted(EXAMPLES.values(), key=repr))).to_json())
    name = draw(st.sampled_from(sorted(fields)))
    match draw(st.sampled_from(["replace", "remove", "add", "cut"])):
        case "replace":
            fields[name] = draw(ANY_JSON)
        case "remove":
            del fields[name]
        case "add":
            fields[draw(st.text(max_size=10))] = draw(ANY_JSON)
        case "cut":
            return json.dumps(fields).encode()[: draw(st.integers(0, 200))]
    return json.dumps(fields).encode()


PAYLOADS = st.one_of(
    st.binary(max_size=200),
    ANY_JSON.map(lambda value: json.dumps(value).encode()),
    spoilt(),
    st.one_of([messages(model) for model in EXAMPLES]).map(lambda message: message.to_json()),
    st.integers(1, 30_000).map(lambda depth: b"[" * depth),
    st.integers(1, 10_000).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth),
    st.just(b'{"schema":"drain/1","request_id":"abcd-1234","x":"' + b"x" * MAX_PAYLOAD_BYTES + b'"}'),
    st.just(b'{"schema": NaN}'),
    st.just(b"\xff\xfe{}"),
)


def assert_only_valid(arrivals: list[object]) -> None:
    for arrival in arrivals:
        match arrival:
            case StateArrived(client, path, message):
                topic: StateTopic | EventTopic | RequestTopic = StateTopic(client, path)
                if message is None:
                    continue
                found: Message = message
            case EventArrived(client, kind, found):
                topic = EventTopic(client, kind)
            case RequestArrived(client, verb, found):
                topic = RequestTopic("all" if verb == "announce" else ME, client, verb)
            case Connected():
                continue
            case _:
                raise AssertionError(f"{arrival} came out")
        model = model_of(topic)
        assert isinstance(found, model)
        assert model.model_validate_json(found.to_json()) == found


def listening(world: World) -> CoreBus:
    bus = world.bus(ME)
    bus.watch_state()
    bus.watch_events()
    world.settle()
    return bus


def assert_still_serves(world: World, bus: CoreBus) -> None:
    world.publish("cli.alice", f"{ROOT}/request/{ME}/cli.alice/drain", Drain(request_id="still-alive").to_json())
    served = world.until(bus, RequestArrived, lambda arrived: arrived.request.request_id == "still-alive")
    assert_only_valid(list(served))


@pytest.mark.unit
@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(TOPICS, PAYLOADS, st.booleans()), min_size=1, max_size=5))
def test_nothing_that_arrives_stops_the_bus(published: list[tuple[tuple[str, str], bytes, bool]]) -> None:
    world = MemoryWorld()
    bus = listening(world)
    for (author, topic), payload, retain in published:
        world.publish(author, topic, payload, retain=retain)
    assert_still_serves(world, bus)
    late = listening(world)  # gets what was retained, stored requests and replies included
    assert_still_serves(world, late)


@pytest.mark.broker
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TOPICS, PAYLOADS, st.booleans()), min_size=1, max_size=8))
def test_nothing_that_arrives_over_a_real_broker_stops_the_bus(
    mosquitto: MosquittoWorld, published: list[tuple[tuple[str, str], bytes, bool]]
) -> None:
    bus = mosquitto.buses[0] if mosquitto.buses else listening(mosquitto)
    for (author, topic), payload, retain in published:
        mosquitto.publish(author, topic, payload, retain=retain)
    assert_still_serves(mosquitto, bus)


@pytest.mark.parametrize(
    ("author", "topic"),
    [
        ("lender.loud", f"{ROOT}/state/lender.loud/memory"),
        ("lender.loud", f"{ROOT}/event/lender.loud/step"),
        ("cli.alice", f"{ROOT}/request/{ME}/cli.alice/drain"),
        ("manager", f"{ROOT}/request/all/manager/announce"),
        ("manager", f"{ROOT}/reply/{ME}/manager"),
    ],
)
@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"{}" + MARK, Drop.MALFORMED),
        (b'{"schema": "other/1", "x": "' + MARK + b'"}', Drop.MALFORMED),
        (b'"' + MARK * 6000 + b'"', Drop.OVERSIZED),
    ],
    ids=["broken", "foreign", "oversized"],
)
def test_a_bad_message_is_counted_and_logged_without_its_content(
    world: World, caplog: pytest.LogCaptureFixture, author: str, topic: str, payload: bytes, kind: Drop
) -> None:
    bus = listening(world)
    with caplog.at_level(logging.DEBUG):
        world.publish(author, topic, payload)
        assert_still_serves(world, bus)
    assert bus.counters[kind] == 1
    assert topic in caplog.text
    assert MARK.decode() not in caplog.text


def test_a_secret_in_a_spoilt_reply_is_not_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    bus = listening(world)
    reply = next(EXAMPLES[model] for model in REPLIES if "grants" in model.model_fields)
    text = reply.to_json().decode().replace("an-example-only", MARK.decode()).replace('"size_bytes":', '"size_bytes":-')
    with caplog.at_level(logging.DEBUG):
        world.publish("manager", f"{ROOT}/reply/{ME}/manager", text.encode())
        assert_still_serves(world, bus)
    assert bus.counters[Drop.MALFORMED] == 1
    assert MARK.decode() not in caplog.text


@pytest.mark.parametrize("channel", ["event/lender.loud/step", "state/lender.loud/status"])
def test_a_message_of_the_year_one_reaches_nobody_and_is_counted(world: World, channel: str) -> None:
    bus = listening(world)
    kind: type[Message] = Event if channel.startswith("event") else Status
    fields = json.loads(EXAMPLES[kind].to_json()) | {"at": "0001-01-01T00:00:00+23:59", "kind": "step"}
    before = world.everything(bus)
    world.publish("lender.loud", f"{ROOT}/{channel}", json.dumps(fields).encode(), retain=kind is Status)
    assert [arrival for arrival in world.everything(bus) if isinstance(arrival, (EventArrived, StateArrived))] == []
    assert bus.counters[Drop.MALFORMED] == 1
    assert Connected() in before


@pytest.mark.unit
def test_a_reply_that_nobody_asked_for_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    world = MemoryWorld()
    bus = listening(world)
    reply = next(EXAMPLES[model] for model in REPLIES if "grants" in model.model_fields)
    with caplog.at_level(logging.DEBUG):
        world.publish("manager", f"{ROOT}/reply/{ME}/manager", reply.to_json())
    assert bus.counters[Drop.UNEXPECTED] == 1
    assert "an-example-only" not in caplog.text
    grants = reply.model_dump()["grants"]
    assert "an-example-only" not in repr(reply)
    assert "an-example-only" not in repr([Grant.model_validate(grant) for grant in grants])


def test_only_state_is_accepted_from_the_store(world: World) -> None:
    request = Drain().to_json()
    world.publish("cli.alice", f"{ROOT}/request/{ME}/cli.alice/drain", request, retain=True)
    world.publish("manager", f"{ROOT}/reply/{ME}/manager", Reply(request_id="x").to_json(), retain=True)
    bus = world.bus(ME)
    assert world.everything(bus) == [Connected()]
    assert bus.counters[Drop.MALFORMED] == 2
