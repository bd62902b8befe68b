"""Where a lender serves: one address and port of its own, told or found, compared with where its target really listens.

tgtd that cannot have the address it was told to listens at every address of the host instead (tgt 1.0.85,
`iscsid.c`): its exports are then open to networks that the owner did not mean, and the offered portal leads to whoever
has that port. Used by the targets (`tgt_service.py`, `lio.py`) and by the checks of a host.
"""

import errno
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ramshare.errors import ExitCode, RamshareError
from ramshare.settings import BrokerSettings, LenderSettings, load

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[..., list[tuple[Any, ...]]]


class PortalError(RamshareError):
    """A lender cannot serve at this address."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, order=True)
class Portal:
    """An address with its port, as `10.0.0.1:3260` or `[fd00::1]:3260`."""

    address: Address
    port: int

    @classmethod
    def parse(cls, text: str) -> "Portal":
        """Return the portal that `text` is, in any spelling of its address. Raises `PortalError`."""
        address, _, port = text.rpartition(":")
        try:
            return cls(_plain(ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))), int(port))
        except ValueError as error:
            raise PortalError(f"not an address and a port: {text!r}") from error

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def told_portal(settings: LenderSettings, resolve: Resolve = socket.getaddrinfo) -> Portal:
    """Return where a lender is to serve: the address in its settings, or the one that it has towards the broker.

    Raises `PortalError` naming the setting and what to write instead.
    """
    if not settings.address:
        broker = load(BrokerSettings)
        return Portal(own_address(broker.broker_host, broker.port, resolve), settings.port)
    try:
        return Portal(find_address(settings.address, resolve), settings.port)
    except PortalError as error:
        raise PortalError(f"RAMSHARE_LENDER_ADDRESS: {error.message}", error.hint) from error


def find_address(text: str, resolve: Resolve = socket.getaddrinfo) -> Address:
    """Return the one address that `text` means: an IPv4 or IPv6 address, in brackets or not, or a name that has one.

    Raises `PortalError` saying what to write instead.
    """
    text = text.strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    if "/" in text:
        raise PortalError(f"{text} is a network", f"write the address alone: {text.partition('/')[0]}")
    try:
        found = _plain(ipaddress.ip_address(bare))
    except ValueError:
        _check_name(text)
        found = _resolved(text, resolve)
    if problem := _unfit(found):
        raise PortalError(f"{text} {problem}", "write the one address of this host that borrowers reach")
    return found


def own_address(towards: str, port: int, resolve: Resolve = socket.getaddrinfo) -> Address:
    """Return the address that this host has towards another one, of either family. Raises `PortalError`."""
    try:
        for family, kind, _, _, place in resolve(towards, port, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                probe.connect(place)
                return _plain(ipaddress.ip_address(str(probe.getsockname()[0]).partition("%")[0]))
    except OSError as error:
        raise PortalError(f"no way to {towards}: {error}", "set RAMSHARE_LENDER_ADDRESS") from error
    raise PortalError(f"{towards} has no address", "set RAMSHARE_LENDER_ADDRESS")


def why_not_free(portal: Portal) -> str:
    """Return what keeps a target from listening at `portal` now, empty if nothing does."""
    family = socket.AF_INET6 if portal.address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As tgtd does: connections that linger from the last run are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((str(portal.address), portal.port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"this host has no address {portal.address}: ip -brief address shows which it has"
            if error.errno == errno.EADDRINUSE:
                return f"another program listens at {portal}: ss -ltnp sport = :{portal.port} shows which"
            return f"nobody can listen at {portal}: {error.strerror}"
    return ""


def difference(told: Portal, served: Collection[Portal]) -> str:
    """Return how what a target serves differs from what it was told to, empty if it does not. Pure."""
    if set(served) == {told}:
        return ""
    places = ", ".join(str(portal) for portal in _sorted(served)) or "no address at all"
    return f"the target serves {places}, and it was told to serve {told} only"


def _sorted(portals: Iterable[Portal]) -> list[Portal]:
    return sorted(portals, key=lambda portal: (portal.address.version, portal.address.packed, portal.port))


def _plain(address: Address) -> Address:
    """Return an IPv4 address that is written as an IPv6 one as itself."""
    return getattr(address, "ipv4_mapped", None) or address


def _resolved(text: str, resolve: Resolve) -> Address:
    try:
        places = resolve(text, None, type=socket.SOCK_STREAM)
        found = {_plain(ipaddress.ip_address(str(place[0]).partition("%")[0])) for *_, place in places}
    except (OSError, UnicodeError, ValueError) as error:
        raise PortalError(f"{text} is no address and no name that is known here", "write an IP address") from error
    if len(found) != 1:
        many = ", ".join(sorted(map(str, found))) or "none"
        raise PortalError(f"{text} has not one address but {many}", "write the one that borrowers reach")
    return found.pop()


def _unfit(address: Address) -> str:
    if address.is_unspecified:
        return "means every address of this host"
    if address.is_multicast or str(address) == "255.255.255.255":
        return "is the address of a group, not of this host"
    if address.version == 6 and (address.is_link_local or address.scope_id):
        return "means nothing without the name of an interface, which borrowers call otherwise"
    return ""


def _check_name(text: str) -> None:
    host, _, port = text.rpartition(":")
    if host and port.isdigit() and (":" not in host or (host[0], host[-1]) == ("[", "]")):
        raise PortalError(f"{text} has a port", f"write {host}, and RAMSHARE_LENDER_PORT={port}")
    labels = text.removesuffix(".").split(".")
    fits = all(0 < len(x) <= 63 and x.replace("-", "").isalnum() and x.isascii() for x in labels) and len(text) < 254
    if not fits or labels[-1].isdigit():  # 10.0.0 and 10.0.0.256 are no names
        raise PortalError(f"{text!r} is neither an address nor a name", "write an IP address, for example 10.0.0.1")
