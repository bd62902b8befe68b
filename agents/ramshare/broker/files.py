"""From a cluster to every file of its set: certificates where one is missing or due, the rest derived anew. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from ramshare.broker import pki
from ramshare.broker.cluster import Cluster, bundle_of, certificate_of
from ramshare.broker.conf import Place, guests_conf, hosts_conf, unit_conf
from ramshare.broker.rights import BRIDGE, Rights, bridged
from ramshare.broker.rules import NONE, guests_rules, hosts_rules

HOSTS, GUESTS = "hosts", "guests"
BUNDLES = "bundles"
ENV_FILE = "ramshare.env"
TLS_DIRECTORY = "/etc/ramshare/tls"
"""Where a machine keeps its bundle's certificates: `RAMSHARE_TLS_DIRECTORY`."""
RULES, CONF, UNIT, FIREWALL = "rules.json", "mosquitto.conf", "unit.conf", "firewall.nft"
DERIVED = {
    f"{HOSTS}/{RULES}": "the rights on the hosts' broker",
    f"{GUESTS}/{RULES}": "the rights on the guests' broker",
    f"{HOSTS}/{CONF}": "the hosts' broker's settings",
    f"{GUESTS}/{CONF}": "the guests' broker's settings",
    f"{HOSTS}/{UNIT}": "what systemd allows the hosts' broker",
    f"{GUESTS}/{UNIT}": "what systemd allows the guests' broker",
    FIREWALL: "the firewall's rule",
}
"""What follows from the accounts and this version of ramshare, in words."""
CONNECTIONS_PER_ADDRESS = 32
"""What the firewall's rule allows one address: a host's agents and commands need less than ten."""

_FIREWALL = """\
# Nobody may hold so many connections that others find no room: Mosquitto has no such limit of its own for those who
# say nothing. Load it with `nft -f`, on the brokers' machine; an address may hold {most} connections.
table inet ramshare_broker
delete table inet ramshare_broker
table inet ramshare_broker {{
  set v4 {{ type ipv4_addr; size {addresses}; flags dynamic; }}
  set v6 {{ type ipv6_addr; size {addresses}; flags dynamic; }}
  chain input {{
    type filter hook input priority -10; policy accept;
    tcp dport {{ {ports} }} ct state new add @v4 {{ ip saddr ct count over {most} }} counter reject with tcp reset
    tcp dport {{ {ports} }} ct state new add @v6 {{ ip6 saddr ct count over {most} }} counter reject with tcp reset
  }}
}}
"""


def make_files(
    cluster: Cluster,
    directory: PurePosixPath,
    now: datetime,
    old: Mapping[str, bytes] | None = None,
    due: Callable[[str, bytes], bool] = lambda _client, _cert: False,
    tune: Callable[[Place], Place] = lambda place: place,
    more: tuple[str, ...] = (),
    everybody: Rights = NONE,
) -> dict[str, bytes]:
    """Return path to content of a whole set that is found at `directory`.

    Certificates of `old` are kept unless `due` says of (account, certificate) that it is time for a new one. `tune` and
    `more` change where the brokers are and add lines to the hosts' configuration; `everybody` as in `hosts_rules`.
    """
    return _Maker(cluster, directory, now, old or {}, due).files(tune, more, everybody)


def due_within(within: timedelta, now: datetime) -> Callable[[str, bytes], bool]:
    """Return what says that certificates which expire so soon are due."""
    return lambda _client, cert: pki.expires_at(cert) - now < within


class _Maker:
    def __init__(
        self,
        cluster: Cluster,
        directory: PurePosixPath,
        now: datetime,
        old: Mapping[str, bytes],
        due: Callable[[str, bytes], bool],
    ) -> None:
        self._cluster, self._directory, self._now, self._old, self._due = cluster, directory, now, old, due
        self._made: dict[str, bytes] = {}

    def files(self, tune: Callable[[Place], Place], more: tuple[str, ...], everybody: Rights) -> dict[str, bytes]:
        cluster = self._cluster
        hosts, guests = self._authority(HOSTS), self._authority(GUESTS)
        self._broker(HOSTS, hosts, cluster.addresses, cluster.accounts)
        self._broker(GUESTS, guests, cluster.guests_addresses, cluster.guest_accounts)
        self._pair(f"{GUESTS}/bridge", BRIDGE, lambda: pki.new_client(hosts, BRIDGE, self._now))
        self._made[f"{GUESTS}/hosts-ca.crt"] = hosts.cert
        for client in cluster.accounts:
            self._bundle(client, hosts, cluster.addresses[0], cluster.port)
        for client in cluster.guest_accounts:
            self._bundle(client, guests, cluster.guests_addresses[0], cluster.guests_port)
        self._rules_and_settings(tune, more, everybody)
        return self._made

    def _authority(self, which: str) -> pki.Pair:
        name = f"ramshare {which} authority"
        return self._pair(f"ca/{which}", "", lambda: pki.new_authority(name, self._now))

    def _broker(self, which: str, authority: pki.Pair, addresses: tuple[str, ...], accounts: tuple[str, ...]) -> None:
        self._pair(f"{which}/server", f"{which} broker", lambda: pki.new_server(authority, addresses, self._now))
        self._made[f"{which}/ca.crt"] = authority.cert
        of_guests = which == GUESTS
        serials = [int(r.serial) for r in self._cluster.revoked if r.client.startswith("guest.") is of_guests]
        self._made[f"{which}/revoked.crl"] = pki.new_revocations(authority, tuple(serials), self._now)

    def _bundle(self, client: str, authority: pki.Pair, address: str, port: int) -> None:
        place = f"{BUNDLES}/{bundle_of(client, self._cluster.accounts)}"
        certificate = f"{BUNDLES}/{certificate_of(client, self._cluster.accounts)}"
        self._pair(certificate, client, lambda: pki.new_client(authority, client, self._now))
        self._made[f"{place}/tls/ca.crt"] = authority.cert
        lines = [f"RAMSHARE_BROKER_HOST={address}", f"RAMSHARE_BROKER_PORT={port}"]
        lines.append(f"RAMSHARE_TLS_DIRECTORY={TLS_DIRECTORY}")
        if self._cluster.root != Cluster().root:
            lines.append(f"RAMSHARE_ROOT={self._cluster.root}")
        self._made[f"{place}/{ENV_FILE}"] = ("\n".join(lines) + "\n").encode()

    def _rules_and_settings(self, tune: Callable[[Place], Place], more: tuple[str, ...], everybody: Rights) -> None:
        cluster = self._cluster
        seen_at = PurePosixPath(cluster.seen_at) if cluster.seen_at else self._directory
        data = PurePosixPath(cluster.data)
        place = Place(seen_at / HOSTS, data, port=cluster.port, plugin=cluster.plugin, user=cluster.owner or "root")
        of_guests = replace(place, directory=seen_at / GUESTS, port=cluster.guests_port)
        hosts_broker = (cluster.addresses[0], cluster.port)
        size = cluster.size
        hosts_text = hosts_conf(tune(place), size, more)
        guests_text = guests_conf(tune(of_guests), hosts_broker, size, bridged(len(cluster.guests), cluster.root))
        self._made[f"{HOSTS}/{CONF}"] = hosts_text.encode()
        self._made[f"{GUESTS}/{CONF}"] = guests_text.encode()
        self._made[f"{HOSTS}/{RULES}"] = _json(hosts_rules(cluster.accounts, cluster.guests, cluster.root, everybody))
        self._made[f"{GUESTS}/{RULES}"] = _json(guests_rules(cluster.guests, cluster.root))
        ports = ", ".join(str(port) for port in sorted({cluster.port, cluster.guests_port}))
        self._made[FIREWALL] = _FIREWALL.format(
            most=CONNECTIONS_PER_ADDRESS, ports=ports, addresses=size.addresses
        ).encode()
        for which, bounds in ((HOSTS, size.hosts_broker), (GUESTS, size.guests_broker)):
            self._made[f"{which}/{UNIT}"] = unit_conf(bounds).encode()

    def _pair(self, path: str, name: str, make: Callable[[], pki.Pair]) -> pki.Pair:
        """Keep the old certificate and key at `path`, or make new ones."""
        cert, key = self._old.get(f"{path}.crt"), self._old.get(f"{path}.key")
        kept = cert is not None and key is not None and not (name and self._due(name, cert))
        pair = pki.Pair(cert, key) if kept and cert is not None and key is not None else make()
        self._made[f"{path}.crt"], self._made[f"{path}.key"] = pair.cert, pair.key
        return pair


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()
