"""Mosquitto's configuration for each of the two brokers, with the reason of every figure. Pure.

Measured with Mosquitto 2.0.11 on one machine with 2 cores, or following from the sizes named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ramshare.broker.rights import BRIDGE
from ramshare.broker.size import Bounds, Size

PLUGIN = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"
"""Where Debian's package has it on amd64; `init --plugin` names another place."""
HOSTS_PORT, GUESTS_PORT = 8883, 8884

_COMMON = """\
# --- who gets in: rights by the account's name, from the certificate's common name (rules.json, see README)
per_listener_settings false
allow_anonymous false
plugin {plugin}
plugin_opt_config_file {directory}/rules.json

# --- speed: without this and the same option on the client a QoS 1 round trip takes 88 ms instead of about 1 ms
set_tcp_nodelay true

# --- limits. A retained snapshot goes through the subscriber's queue: with the default of 1000 a subscription to 5000
# retained topics got 1020 of them, without an error. 0 (no limit) breaks some 2.0 releases, so: a large number.
# Memory, queues and descriptors are for {topics} topics and {connections} connections (`init --size`).
max_queued_messages {queued_messages}
max_queued_bytes {queue_bytes}
max_inflight_messages 20
# Agents drop payloads above 64 KiB unread (MAX_PAYLOAD_BYTES); the rest of a packet is its topic and properties.
max_packet_size 70000
memory_limit {memory_bytes}
max_keepalive 60
queue_qos0_messages false

# --- what it tells about itself: `dropped` is the only sign that a queue overflowed; agents read it
sys_interval {sys_interval_s}
log_type error
log_type warning
log_type notice
connection_messages true
log_timestamp_format %Y-%m-%dT%H:%M:%S
"""

_LISTENER = """\
listener {port} {address}
cafile {directory}/ca.crt
certfile {directory}/server.crt
keyfile {directory}/server.key
crlfile {directory}/revoked.crl
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
use_username_as_clientid true
"""
"""The last four belong to the listener above them: elsewhere Mosquitto applies them to another, without a word."""


@dataclass(frozen=True)
class Place:
    """Where one broker listens and keeps its files."""

    directory: PurePosixPath
    """Of its certificates and rules, as the broker sees it."""
    data: PurePosixPath
    """Where it may write."""
    address: str = ""
    """What it listens on; empty: everywhere."""
    port: int = HOSTS_PORT
    plugin: str = PLUGIN
    user: str = ""
    """Whom it becomes if it is started as root: by default `mosquitto`, who reads no private directory of another."""
    log: str = "stdout"
    """Mosquitto's `log_dest`."""
    sys_interval_s: int = 5


def hosts_conf(place: Place, size: Size, more: Sequence[str] = ()) -> str:
    """Return the hosts' broker's configuration, for a cluster of this size."""
    lines = [
        "# The hosts' broker. Written by `ramshare broker`; a change by hand is lost with the next one.",
        *_head(place, size.hosts_broker),
        "# --- what outlives a restart. The broker is a cache: every agent publishes its whole state again on every",
        "# connect, so the 5 s that a crash may lose cost nothing. Sessions end by themselves (agents ask for 60 s).",
        "persistence true",
        f"persistence_location {place.data}/",
        "autosave_interval 5",
        "persistent_client_expiration 1d",
        "",
        _listener(place),
        *more,
    ]
    return "\n".join(lines) + "\n"


def guests_conf(
    place: Place,
    hosts_broker: tuple[str, int],
    size: Size,
    carried: Iterable[tuple[str, str]],
    more: Sequence[str] = (),
) -> str:
    """Return the guests' broker's configuration, with its bridge to the hosts' broker at (address, port).

    `carried` is what the bridge carries; see `rights.bridged`.
    """
    address, port = hosts_broker
    topics = [f"topic {topic} {way} 1" for topic, way in carried]
    lines = [
        "# The guests' broker. Written by `ramshare broker`; a change by hand is lost with the next one.",
        *_head(place, size.guests_broker),
        "# --- nothing outlives a restart: monitors say all there is to say when they connect again",
        "persistence false",
        "",
        _listener(place),
        "# --- the bridge takes over what guests say; version 5, or it drops what a message says about its expiry",
        "connection hosts",
        f"address {_bracketed(address)}:{port}",
        "bridge_protocol_version mqttv50",
        f"bridge_cafile {place.directory}/hosts-ca.crt",
        f"bridge_certfile {place.directory}/bridge.crt",
        f"bridge_keyfile {place.directory}/bridge.key",
        "bridge_tls_version tlsv1.3",
        f"remote_clientid {BRIDGE}",
        "notifications false",
        "bridge_attempt_unsubscribe false",
        "cleansession true",
        "keepalive_interval 15",
        "restart_timeout 1 15",
        *topics,
        *more,
    ]
    return "\n".join(lines) + "\n"


def unit_conf(bounds: Bounds) -> str:
    """Return a drop-in for the broker's unit: what systemd allows it, where its own file is not enough for the size."""
    return (
        f"# For {bounds.connections:,} connections. Written by `ramshare broker`; copy it to the machine's units.\n"
        f"[Service]\nLimitNOFILE={bounds.descriptors}\nMemoryMax={bounds.resident_bytes}\n"
    )


def _head(place: Place, bounds: Bounds) -> list[str]:
    common = _COMMON.format(
        plugin=place.plugin,
        directory=place.directory,
        memory_bytes=bounds.memory_bytes,
        queue_bytes=bounds.queued_bytes,
        queued_messages=bounds.queued_messages,
        topics=bounds.topics,
        connections=bounds.connections,
        sys_interval_s=place.sys_interval_s,
    )
    return [*([f"user {place.user}"] if place.user else []), f"log_dest {place.log}", "", common]


def _listener(place: Place) -> str:
    return _LISTENER.format(port=place.port, address=place.address, directory=place.directory)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
