"""Topics as values: what is rendered parses back, what is foreign or hostile never does, and each carries one model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kit.strategies import CLIENT_NAMES
from ramshare.borrower.plan.tags import LeaseTag, parse
from ramshare.messages import requests, state
from ramshare.messages.base import ClientName, HostName
from ramshare.messages.events import Event
from ramshare.messages.names import lease_of, target_of
from ramshare.messages.replies import Reply
from ramshare.topics import (
    ALLOWED,
    REQUESTS,
    BadTopicError,
    EventTopic,
    ReplyTopic,
    RequestTopic,
    Root,
    StateTopic,
    Topic,
    model_of,
    name,
    role,
)

pytestmark = pytest.mark.unit

ROOT = Root()
SEGMENTS = st.from_regex(r"[a-zA-Z0-9_.-]{1,64}", fullmatch=True)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
TOPICS: st.SearchStrategy[Topic] = st.one_of(
    st.builds(StateTopic, CLIENT_NAMES, PATHS),
    st.builds(EventTopic, CLIENT_NAMES, SEGMENTS),
    st.builds(RequestTopic, CLIENT_NAMES, CLIENT_NAMES, SEGMENTS),
    st.builds(ReplyTopic, CLIENT_NAMES, CLIENT_NAMES),
)
BAD_CLIENTS = ["lender.", ".hosta", "lender..a", "lender.a.", "lender.-a", "x" * 17, "lender." + "x" * 64]
HOSTILE = ["+", "#", "a/b", "", "a b", "a\x00", "a\n", "ä", "$SYS", *BAD_CLIENTS, "x" * 200]


@given(TOPICS)
def test_what_is_rendered_parses_back(topic: Topic) -> None:
    assert ROOT.parse(topic.render()) == topic


@given(TOPICS, st.from_regex(r"[a-z]{1,9}", fullmatch=True))
def test_a_topic_of_another_root_or_version_is_foreign(topic: Topic, other: str) -> None:
    text = topic.render(other)
    assert Root.of(other).parse(text) == topic
    for foreign in (text, text.replace("/v1/", "/v2/", 1), f"/{text}", text.upper()):
        with pytest.raises(BadTopicError):
            Root("ramshare-test").parse(foreign)


@given(st.text(max_size=80))
def test_any_text_is_ours_or_a_bad_topic(text: str) -> None:
    for candidate in (text, f"ramshare/v1/{text}", f"ramshare/v1/state/lender.hosta/{text}"):
        try:
            parsed = ROOT.parse(candidate)
        except BadTopicError:
            continue
        assert parsed.render() == candidate
        assert not set("+#\n\x00 ") & set(candidate)


@given(TOPICS, st.sampled_from(["+", "#", "", "a\n", "\x00", " "]), st.data())
def test_a_damaged_part_makes_a_topic_bad(topic: Topic, bad: str, data: st.DataObject) -> None:
    parts = topic.render().split("/")
    parts[data.draw(st.integers(2, len(parts) - 1))] = bad
    with pytest.raises(BadTopicError):
        ROOT.parse("/".join(parts))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_topic_can_be_made_of_a_hostile_name(hostile: str) -> None:
    with pytest.raises(BadTopicError):
        StateTopic(hostile, "offer")
    with pytest.raises(BadTopicError):
        RequestTopic("lender.hosta", hostile, "export")
    with pytest.raises(BadTopicError):
        ReplyTopic("borrower.hostb", hostile)
    if "/" not in hostile and hostile not in BAD_CLIENTS[:-1]:
        with pytest.raises(BadTopicError):
            EventTopic("lender.hosta", hostile)


@pytest.mark.parametrize("root", ["", "a/b", "+", "#", "ramshare\n", "a b"])
def test_a_root_is_one_plain_word(root: str) -> None:
    with pytest.raises(BadTopicError):
        Root.of(root)


@pytest.mark.parametrize("host", ["hosta", "hosta.example.org", "a.b-c.d_e.7", "x" * 63, "web." + "y" * 59])
def test_a_hosts_name_may_have_a_domain(host: str) -> None:
    client = f"lender.{host}"
    assert TypeAdapter(HostName).validate_python(host) == host
    assert TypeAdapter(ClientName).validate_python(client) == client
    assert ROOT.parse(RequestTopic(client, f"borrower.{host}", "export").render()).render()
    assert ROOT.parse(StateTopic("manager", f"host/{host}").render()) == StateTopic("manager", f"host/{host}")
    assert (role(client), name(client)) == ("lender", host)
    assert lease_of(target_of(host, "l27-1")) == "l27-1"
    assert parse({str(LeaseTag("l27-1", host, 5))}).leases == (LeaseTag("l27-1", host, 5),)


@given(st.text(max_size=90))
def test_topics_and_messages_agree_on_client_names(text: str) -> None:
    try:
        StateTopic(text, "offer")
    except BadTopicError:
        return
    try:
        TypeAdapter(ClientName).validate_python(text)
    except ValidationError:  # pragma: no cover
        pytest.fail(f"{text!r} makes a topic but no message may name it")


@given(CLIENT_NAMES, CLIENT_NAMES, SEGMENTS)
def test_the_reply_goes_to_the_asker_and_names_the_asked(server: str, client: str, verb: str) -> None:
    reply = RequestTopic(server, client, verb).reply()
    assert (reply.client, reply.server) == (client, server)


def test_each_state_topic_carries_its_model() -> None:
    assert model_of(StateTopic("lender.a", "offer")) is state.Offer
    assert model_of(StateTopic("lender.a", "export/l1")) is state.Export
    assert model_of(StateTopic("borrower.b", "volume/vg0/swap")) is state.Volume
    assert model_of(StateTopic("borrower.b", "lease/l1")) is state.Lease
    assert model_of(StateTopic("manager", "lease/l1")) is state.LeaseRecord
    assert model_of(StateTopic("manager", "host/a")) is state.HostRecord
    assert model_of(EventTopic("lender.a", "exported")) is Event
    assert model_of(ReplyTopic("borrower.b", "manager")) is Reply


def test_the_same_verb_means_another_model_at_another_server() -> None:
    assert model_of(RequestTopic("manager", "borrower.b", "borrow")) is requests.BorrowMemory
    assert model_of(RequestTopic("borrower.b", "cli.al", "borrow")) is requests.BorrowVolume


@pytest.mark.parametrize(
    "topic",
    [
        StateTopic("lender.a", "export"),
        StateTopic("lender.a", "export/l1/more"),
        StateTopic("lender.a", "host/a"),
        StateTopic("manager", "offer"),
        RequestTopic("lender.a", "manager", "borrow"),
        RequestTopic("guest.g", "manager", "export"),
        RequestTopic("all", "manager", "export"),
    ],
    ids=lambda topic: topic.render(),
)
def test_a_topic_that_nobody_defined_has_no_model(topic: Topic) -> None:
    with pytest.raises(BadTopicError):
        model_of(topic)


def test_every_request_says_who_may_send_it_and_its_verb_is_its_topics() -> None:
    assert REQUESTS.keys() == ALLOWED.keys()
    for (_, verb), model in REQUESTS.items():
        assert verb == model.VERB


def test_a_client_is_a_role_and_a_name() -> None:
    assert (role("lender.hosta"), name("lender.hosta")) == ("lender", "hosta")
    assert (role("manager"), name("manager")) == ("manager", "manager")
