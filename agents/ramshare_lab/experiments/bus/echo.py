"""A bare paho echo, without anything of ours: what `scenario.py` compares the bus with."""

import queue
import socket
import time
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from ramshare.settings import BrokerSettings

REPLY_TIMEOUT_S = 10.0


def bare_round_trips(
    asking: BrokerSettings, answering: BrokerSettings, payload: bytes, rounds: int, *, nodelay: bool
) -> list[float]:
    """Return the seconds of each QoS 1 round trip between two plain paho clients, one after the other."""
    asker, server = str(asking.client), str(answering.client)
    request = f"{asking.root}/v1/request/{server}/{asker}/drain"
    reply = f"{asking.root}/v1/reply/{asker}/{server}"
    replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    clients = [_connected(asking, nodelay), _connected(answering, nodelay)]
    try:
        _listen(clients[0], f"{asking.root}/v1/reply/{asker}/+", lambda message: replies.put(message.payload))
        _listen(
            clients[1],
            f"{asking.root}/v1/request/{server}/+/+",
            lambda message: clients[1].publish(reply, message.payload, qos=1),
        )
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            clients[0].publish(request, payload, qos=1)
            replies.get(timeout=REPLY_TIMEOUT_S)
            seconds.append(time.perf_counter() - began)
        return seconds
    finally:
        for client in clients:
            client.disconnect()
            client.loop_stop()


def _connected(settings: BrokerSettings, nodelay: bool) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id=str(settings.client), protocol=MQTTv5)
    client.tls_set(str(settings.ca_file), str(settings.cert_file), str(settings.key_file))

    def on_socket_open(_client: Client, _userdata: object, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(nodelay))

    client.on_socket_open = on_socket_open
    client.connect(settings.broker_host, settings.port)
    client.loop_start()
    return client


def _listen(client: Client, topic: str, handle: Any) -> None:
    granted: queue.SimpleQueue[bool] = queue.SimpleQueue()
    client.on_message = lambda _client, _userdata, message: _handled(handle, message)
    client.on_subscribe = lambda *_: granted.put(True)
    client.subscribe(topic, qos=1)
    granted.get(timeout=REPLY_TIMEOUT_S)


def _handled(handle: Any, message: MQTTMessage) -> None:
    handle(message)
