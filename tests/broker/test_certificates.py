"""Bad certificates and bad days of both real brokers: who is let in, what is said, and that the cluster goes on."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.broker_worlds import CLIENTS, eventually
from kit.cli_world import offer
from kit.sample_messages import memory
from ramshare.broker import pki
from ramshare.bus.api import BrokerUnreachableError, NotAuthorisedError, StateArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import ExitCode
from ramshare.linux.run import SystemRunner
from ramshare.messages.state import Memory, Status
from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.broker import RunningBroker, start_broker

pytestmark = pytest.mark.broker
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with start_broker(SystemRunner(), tmp_path_factory.mktemp("brokers"), CLIENTS) as running:
        yield running


def authority(brokers: RunningBroker, which: str = "hosts") -> pki.Pair:
    place = brokers.store.current / "ca"
    return pki.Pair((place / f"{which}.crt").read_bytes(), (place / f"{which}.key").read_bytes())


def with_pair(settings: BrokerSettings, pair: pki.Pair | None, ca: bytes, directory: Path) -> BrokerSettings:
    (directory / "ca.crt").write_bytes(ca)
    if pair is not None:
        (directory / f"{settings.client}.crt").write_bytes(pair.cert)
        (directory / f"{settings.client}.key").write_bytes(pair.key)
    return settings.model_copy(update={"tls_directory": directory})


def answer_to(settings: BrokerSettings, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """Send CONNECT as anybody could, without looking at one's own certificate; return what the broker says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(settings.ca_file)
    context.minimum_version = context.maximum_version = version
    if settings.cert_file.exists():
        context.load_cert_chain(settings.cert_file, settings.key_file)
    with (
        contextlib.suppress(OSError),
        socket.create_connection((settings.broker_host, settings.port), 5) as plain,
        context.wrap_socket(plain, server_hostname=settings.broker_host) as secure,
    ):
        secure.sendall(bytes.fromhex("101000044d5154540502003c000003616263"))
        return secure.recv(100)
    return b""


def test_the_broker_lets_in_who_has_a_certificate_of_ours_and_nobody_else(
    brokers: RunningBroker, tmp_path: Path
) -> None:
    now, ours, theirs = datetime.now(UTC), authority(brokers), authority(brokers, "guests")
    who = brokers.settings("lender.hosta")
    attempts = {
        "none": None,
        "expired": pki.new_client(ours, "lender.hosta", now - 400 * DAY),
        "not yet valid": pki.new_client(ours, "lender.hosta", now + DAY),
        "self-signed": pki.new_authority("lender.hosta", now),
        "foreign": pki.new_client(pki.new_authority("ramshare hosts authority", now), "lender.hosta", now),
        "of the guests' authority": pki.new_client(theirs, "lender.hosta", now),
        "a server's": pki.new_server(ours, ("lender.hosta",), now),
    }
    for name, pair in attempts.items():
        place = tmp_path / name
        place.mkdir()
        assert answer_to(with_pair(who, pair, ours.cert, place)) == b"", name
    assert answer_to(who) != b""
    assert answer_to(who, version=ssl.TLSVersion.TLSv1_2) == b"", "older TLS"


def test_no_account_of_the_hosts_gets_in_at_the_guests_listener(brokers: RunningBroker) -> None:
    for account in ("lender.hosta", "manager", "cli.alice"):
        ours = brokers.settings(account)
        theirs = ours.model_copy(update={"broker_port": brokers.cluster.guests_port})
        assert answer_to(ours) != b"", account
        assert answer_to(theirs) == b"", account


def test_a_guests_bundle_on_the_hosts_listener_names_the_port(brokers: RunningBroker) -> None:
    wrong = brokers.settings("guest.web1").model_copy(update={"broker_port": brokers.port})
    with pytest.raises(NotAuthorisedError, match=r"a certificate that .*ca\.crt has not signed") as caught:
        MqttBus(wrong, "guest.web1").connect(5)
    assert "8884" in caught.value.hint
    assert caught.value.exit_code is ExitCode.NOT_AUTHORISED


def test_a_certificate_that_only_the_broker_refuses_is_explained(brokers: RunningBroker, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    alike = pki.new_client(pki.new_authority("ramshare hosts authority", now), "lender.hosta", now)
    settings = with_pair(brokers.settings("lender.hosta"), alike, authority(brokers).cert, tmp_path)
    began = time.monotonic()
    with pytest.raises(NotAuthorisedError, match=r"does not take the certificate of lender\.hosta") as caught:
        MqttBus(settings, "lender.hosta").connect(10)
    assert "ramshare broker renew lender.hosta" in caught.value.hint
    assert time.monotonic() - began < 5


def test_an_address_that_the_brokers_certificate_does_not_name_is_told(brokers: RunningBroker) -> None:
    elsewhere = brokers.settings("lender.hosta").model_copy(update={"broker_host": "localhost"})
    with pytest.raises(NotAuthorisedError, match="is not for localhost") as caught:
        MqttBus(elsewhere, "lender.hosta").connect(5)
    assert "--address" in caught.value.hint


def test_plain_tcp_to_a_broker_with_tls_is_no_broker(brokers: RunningBroker) -> None:
    plain = brokers.settings("lender.hosta").model_copy(update={"broker_insecure": True})
    with pytest.raises(BrokerUnreachableError):
        MqttBus(plain, "lender.hosta").connect(2)


def test_an_agent_says_with_its_status_when_its_certificate_ends(brokers: RunningBroker) -> None:
    lender = MqttBus(brokers.settings("lender.hosta"), "lender.hosta")
    watcher = MqttBus(brokers.settings("cli.alice"), "cli.alice")
    lender.connect()
    lender.set_state("status", Status(status="online"))
    watcher.connect()
    watcher.watch_state("lender.hosta", "status")
    deadline = time.monotonic() + 10
    while not isinstance(arrival := watcher.next(0.1), StateArrived):
        assert time.monotonic() < deadline
    assert isinstance(arrival.message, Status)
    assert arrival.message.certificate_ends == pki.expires_at(brokers.settings("lender.hosta").cert_file.read_bytes())
    watcher.close()
    lender.close()


def test_while_the_bridge_is_down_guests_are_silent_and_afterwards_heard_again(brokers: RunningBroker) -> None:
    guest = MqttBus(brokers.settings("guest.web1"), "guest.web1")
    lender = MqttBus(brokers.settings("lender.hosta"), "lender.hosta")
    guest.connect()
    lender.connect()
    lender.watch_state("guest.web1", "memory")
    try:
        guest.set_state("memory", memory(1))
        eventually(lambda: heard(lender) == 1)
        brokers.kill()  # the hosts' broker: the bridge has nobody to talk to
        guest.set_state("memory", memory(2))
        brokers.start()
        eventually(lambda: heard(lender) == 2, 60)
        assert brokers.guests is not None
        brokers.guests.kill()
        lender.set_state("offer", offer())
        assert lender._mqtt.outbox.wait_until_empty(5), "the hosts do not need the guests' broker"
        brokers.guests.start()
        guest.set_state("memory", memory(3))
        eventually(lambda: heard(lender) == 3, 60)
    finally:
        guest.close()
        lender.close()


def heard(lender: MqttBus) -> int | None:
    """Return what the guest is said to use, by the newest report that arrived just now."""
    used = None
    while (arrival := lender.next(0.05)) is not None:
        if isinstance(arrival, StateArrived) and isinstance(arrival.message, Memory):
            used = arrival.message.used_bytes
    return used


def test_a_full_disk_under_the_broker_stops_nobody(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], check=True)
    try:
        with start_broker(SystemRunner(), place, CLIENTS) as broker:
            free = shutil.disk_usage(place).free
            (place / "ballast").write_bytes(b"x" * free)
            lender = MqttBus(broker.settings("lender.hosta"), "lender.hosta")
            lender.connect()
            lender.set_state("offer", offer())
            time.sleep(6)  # it saves every 5 s
            late = MqttBus(broker.settings("cli.alice"), "cli.alice")
            late.connect()
            late.watch_state("lender.hosta", "offer")
            eventually(lambda: isinstance(late.next(0.1), StateArrived))
            late.close()
            lender.close()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
