"""A lender's address: what people write is understood or refused with what to write, and compared with what is so."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ramshare.linux.host_checks.lender_portal import PortalFacts, judge
from ramshare.linux.portal import Portal, PortalError, difference, find_address, told_portal, why_not_free
from ramshare.settings import LenderSettings

pytestmark = pytest.mark.unit

TOLD = Portal.parse("10.0.0.1:3260")
EVERYWHERE = frozenset({Portal.parse("0.0.0.0:3260"), Portal.parse("[::]:3260")})
NAMES = {"hosta.lan": ["10.0.0.7"], "six": ["fd00::7"], "both": ["10.0.0.7", "fd00::7"]}


def resolve(name: str, _port: object, **_about: Any) -> list[tuple[Any, ...]]:
    if name not in NAMES:
        raise socket.gaierror(-2, "Name or service not known")
    return [(0, 0, 0, "", (address, 0)) for address in NAMES[name]]


@pytest.mark.parametrize(
    ("written", "portal"),
    [
        ("10.0.0.1", "10.0.0.1:3260"),
        (" 10.0.0.1 ", "10.0.0.1:3260"),
        ("fd00::1", "[fd00::1]:3260"),
        ("[fd00::1]", "[fd00::1]:3260"),
        ("[FD00:0:0::1]", "[fd00::1]:3260"),
        ("::ffff:10.0.0.1", "10.0.0.1:3260"),
        ("hosta.lan", "10.0.0.7:3260"),
        ("six", "[fd00::7]:3260"),
    ],
)
def test_an_address_of_either_family_and_a_name_of_one_address_are_understood(written: str, portal: str) -> None:
    assert str(told_portal(LenderSettings(address=written), resolve)) == portal


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("10.0.0.1/24", "write the address alone: 10.0.0.1"),
        ("fd00::1/64", "write the address alone: fd00::1"),
        ("10.0.0.1:3260", "RAMSHARE_LENDER_PORT=3260"),
        ("[fd00::1]:3260", r"write \[fd00::1\], and RAMSHARE_LENDER_PORT=3260"),
        ("hosta.lan:3260", "has a port"),
        ("0.0.0.0", "every address"),
        ("::", "every address"),
        ("[::]", "every address"),
        ("224.0.0.1", "group"),
        ("ff02::1", "group"),
        ("255.255.255.255", "group"),
        ("fe80::1", "interface"),
        ("fe80::1%eth0", "interface"),
        ("10.0.0", "neither"),
        ("10.0.0.256", "neither"),
        ("[10.0.0.1]", "neither"),
        ("[fd00::1", "neither"),
        ("fd00::g", "neither"),
        ("10.0.0.1,10.0.0.2", "neither"),
        ("10.0.0.1 10.0.0.2", "neither"),
        ("host_a", "neither"),
        ("unknown.lan", "no name that is known"),
        ("both", "10.0.0.7, fd00::7"),
    ],
)
def test_what_is_not_one_address_of_this_host_is_refused_with_what_to_write(written: str, says: str) -> None:
    with pytest.raises(PortalError, match=f"^RAMSHARE_LENDER_ADDRESS: .*{says}"):
        told_portal(LenderSettings(address=written), resolve)


def test_without_a_setting_it_is_the_address_towards_the_broker_of_either_family(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAMSHARE_ENV_FILE", "/nonexistent")
    for broker in ("127.0.0.1", "::1"):
        monkeypatch.setenv("RAMSHARE_BROKER_HOST", broker)
        assert told_portal(LenderSettings()) == Portal(ipaddress.ip_address(broker), 3260)
    monkeypatch.setenv("RAMSHARE_BROKER_HOST", "no.such.host.invalid")
    with pytest.raises(PortalError, match="RAMSHARE_LENDER_ADDRESS"):
        told_portal(LenderSettings())


@pytest.fixture(params=["127.0.0.1", "::1"])
def taken(request: pytest.FixtureRequest) -> Iterator[Portal]:
    address = ipaddress.ip_address(request.param)
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as other:
        other.bind((request.param, 0))
        other.listen(1)
        yield Portal(address, other.getsockname()[1])


def test_a_taken_port_and_a_foreign_address_are_seen_before_a_target_is_started(taken: Portal) -> None:
    assert f"another program listens at {taken}" in why_not_free(taken)
    assert "this host has no address 203.0.113.9" in why_not_free(Portal.parse("203.0.113.9:3260"))


def test_a_free_address_is_free_and_stays_so(taken: Portal) -> None:
    with socket.socket(socket.AF_INET6 if taken.address.version == 6 else socket.AF_INET) as found:
        found.bind((str(taken.address), 0))
        port = found.getsockname()[1]
    assert [why_not_free(Portal(taken.address, port)) for _ in range(2)] == ["", ""]


@pytest.mark.parametrize(
    ("served", "says"),
    [
        ({TOLD}, ""),
        (EVERYWHERE, "the target serves 0.0.0.0:3260, [::]:3260, and it was told to serve 10.0.0.1:3260 only"),
        ({TOLD, Portal.parse("10.9.9.9:3260")}, "the target serves 10.0.0.1:3260, 10.9.9.9:3260"),
        ({Portal.parse("10.0.0.1:3261")}, "the target serves 10.0.0.1:3261"),
        (set(), "the target serves no address at all"),
    ],
)
def test_what_is_served_is_what_was_told_and_nothing_else(served: set[Portal], says: str) -> None:
    assert difference(TOLD, served).startswith(says)
    assert bool(difference(TOLD, served)) == bool(says)


def test_one_address_in_two_spellings_is_one() -> None:
    assert Portal.parse("[FD00:0::1]:3260") == Portal(find_address("fd00::1"), 3260)
    with pytest.raises(PortalError):
        Portal.parse("10.0.0.1")


# The check of a host


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (PortalFacts(problem="RAMSHARE_LENDER_ADDRESS: 10.0.0.0/8 is a network", hint="write"), "is a network; write"),
        (PortalFacts(TOLD, hindrance="another program listens at x: ss -ltnp"), "RAMSHARE_LENDER_PORT"),
        (PortalFacts(TOLD, served=EVERYWHERE), "RAMSHARE_LENDER_CONTROL_PORT"),
    ],
)
def test_a_lender_that_cannot_serve_where_it_was_told_does_not_pass_the_check(facts: PortalFacts, says: str) -> None:
    (found,) = judge(facts)
    assert says in str(found)
    assert found.blocks


def test_an_address_that_is_free_or_served_already_passes_and_one_of_this_host_alone_is_told() -> None:
    assert judge(PortalFacts(TOLD)) == judge(PortalFacts(TOLD, served=frozenset({TOLD}))) == []
    (found,) = judge(PortalFacts(Portal.parse("127.0.0.1:3260")))
    assert "other hosts cannot reach" in str(found)
    assert not found.blocks
