"""The access matrix, held against both real brokers: every role, every channel, own and foreign, write and read."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.reasoncodes import ReasonCode

from kit.broker_worlds import raw_client
from ramshare.broker.matrix import OTHER, ROLES, account_of, covers, may, other_of, rights_of, rows
from ramshare.broker.rights import BRIDGE, GUEST
from ramshare.linux.run import SystemRunner
from ramshare.settings import BrokerSettings
from ramshare.topics import MANAGER
from ramshare_lab.cluster.broker import RunningBroker, start_broker

pytestmark = pytest.mark.broker

ON_HOSTS = tuple(kind for kind in ROLES if kind not in (GUEST, BRIDGE))
CLIENTS = sorted({account_of(kind) for kind in ON_HOSTS} | {other_of(kind) for kind in ("lender", "borrower", "cli")})
GUESTS = ["guest.me", f"guest.{OTHER}"]
QUIET_S = 0.4


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with start_broker(SystemRunner(), tmp_path_factory.mktemp("brokers"), [*CLIENTS, *GUESTS]) as running:
        yield running


class Account:
    """A plain client that notes what it may publish and what it hears."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.heard: set[str] = set()
        self._answered: dict[int, bool] = {}
        self._news = threading.Condition()
        self.client = raw_client(settings)
        self.client.on_publish = self._published
        self.client.on_message = self._message
        self.client.on_subscribe = self._subscribed
        self.client.loop_start()

    def may_publish(self, topic: str) -> bool:
        return self._verdict(self.client.publish(topic, b"{}", qos=1).mid)

    def may_subscribe(self, topic_filter: str) -> bool:
        mid = self.client.subscribe(topic_filter, qos=1)[1]
        assert mid is not None
        return self._verdict(mid)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _verdict(self, mid: int) -> bool:
        with self._news:
            assert self._news.wait_for(lambda: mid in self._answered, 10)
            return self._answered.pop(mid)

    def _note(self, mid: int, granted: bool) -> None:
        with self._news:
            self._answered[mid] = granted
            self._news.notify_all()

    def _published(self, _client: Client, _user: object, mid: int, reason: ReasonCode, _props: object) -> None:
        self._note(mid, not reason.is_failure)

    def _subscribed(self, _c: Client, _user: object, mid: int, reasons: list[ReasonCode], _props: object) -> None:
        self._note(mid, not any(reason.is_failure for reason in reasons))

    def _message(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        self.heard.add(message.topic)


@pytest.mark.parametrize("kind", [*ON_HOSTS, GUEST])
def test_what_a_role_may_write_it_can_and_what_it_may_not_the_broker_refuses(brokers: RunningBroker, kind: str) -> None:
    me, rights = Account(brokers.settings(account_of(kind))), rights_of(kind)
    topics = [row.of(account_of(kind)) for row in rows()]
    wrong = {topic for topic in topics if me.may_publish(topic) is not may(rights, "write", topic)}
    me.close()
    assert wrong == set()


@pytest.mark.parametrize("kind", ON_HOSTS)
def test_a_role_hears_what_it_may_read_and_nothing_else(brokers: RunningBroker, kind: str) -> None:
    me, rights = Account(brokers.settings(account_of(kind))), rights_of(kind)
    topics = {row.of(account_of(kind)) for row in rows()}
    for topic_filter in (*rights.subscribe, *rights.subscribe_within):
        assert me.may_subscribe(topic_filter), topic_filter
    greedy = {"#", "ramshare/#", "+/v1/#", "ramshare/v1/request/#", f"ramshare/v1/reply/cli.{OTHER}/+", "$share/a/#"}
    granted = {topic for topic in (greedy | topics) - set(rights.subscribe) if me.may_subscribe(topic)}
    assert {topic for topic in granted if not rights.subscribe_within} == set()
    sent: set[str] = set()
    for name in CLIENTS:
        if name != account_of(kind):
            other = Account(brokers.settings(name))
            sent |= {topic for topic in topics if other.may_publish(topic)}
            other.close()
    own = {topic for topic in topics if me.may_publish(topic)}
    asked = (*rights.subscribe, *rights.subscribe_within)
    readable = {topic for topic in topics if may(rights, "read", topic) and any(covers(one, topic) for one in asked)}
    heard = (sent | own) & readable
    deadline = time.monotonic() + 5
    while not heard <= me.heard and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(QUIET_S)  # for what must not come
    me.close()
    assert me.heard & topics == heard


def test_a_guest_hears_replies_to_itself_and_its_own_words_only(brokers: RunningBroker) -> None:
    me, other = Account(brokers.settings("guest.me")), Account(brokers.settings(f"guest.{OTHER}"))
    everything = (
        "#",
        "ramshare/#",
        "ramshare/v1/state/#",
        f"ramshare/v1/state/guest.{OTHER}/memory",
        "$share/a/#",
        "$SYS/#",
    )
    assert not any(me.may_subscribe(topic_filter) for topic_filter in everything)
    assert me.may_subscribe("ramshare/v1/reply/guest.me/+")
    assert me.may_subscribe("ramshare/v1/state/guest.me/#")
    assert other.may_publish(f"ramshare/v1/state/guest.{OTHER}/memory")
    assert me.may_publish("ramshare/v1/state/guest.me/memory")
    time.sleep(QUIET_S)
    me.close()
    other.close()
    assert me.heard == {"ramshare/v1/state/guest.me/memory"}


def test_the_bridge_says_what_guests_may_say_and_hears_their_hosts_answers_alone(
    brokers: RunningBroker, tmp_path: Path
) -> None:
    """With the bridge's own certificate: who breaks into the guests' broker can do no more."""
    set_ = brokers.store.current / "guests"
    (tmp_path / "ca.crt").write_bytes((set_ / "hosts-ca.crt").read_bytes())
    for suffix in ("crt", "key"):
        (tmp_path / f"bridge.{suffix}").write_bytes((set_ / f"bridge.{suffix}").read_bytes())
    assert brokers.guests is not None
    brokers.guests.stop()
    try:
        settings = brokers.settings(MANAGER).model_copy(update={"client": BRIDGE, "tls_directory": tmp_path})
        bridge = Account(settings)
        topics = [row.of(BRIDGE) for row in rows()]
        assert {topic for topic in topics if bridge.may_publish(topic)} == {
            f"ramshare/v1/state/guest.{OTHER}/status",
            f"ramshare/v1/state/guest.{OTHER}/memory",
            f"ramshare/v1/request/host/guest.{OTHER}/borrow",
            f"ramshare/v1/request/host/guest.{OTHER}/return",
        }
        greedy = ("#", "ramshare/v1/state/#", "ramshare/v1/reply/#", "ramshare/v1/reply/+/+")
        assert not any(bridge.may_subscribe(topic) for topic in (*topics, *greedy))
        assert bridge.may_subscribe("ramshare/v1/reply/+/host")
        for client in (MANAGER, "borrower.me"):
            teller = Account(brokers.settings(client))
            teller.may_publish(f"ramshare/v1/reply/guest.{OTHER}/host")
            teller.may_publish(f"ramshare/v1/reply/cli.{OTHER}/{client}")
            teller.close()
        time.sleep(QUIET_S)
        assert bridge.heard == {f"ramshare/v1/reply/guest.{OTHER}/host"}
        bridge.close()
    finally:
        brokers.guests.start()
