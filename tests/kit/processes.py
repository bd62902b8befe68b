"""An agent and an attacker, each in a process of its own: what a flood does is measured from outside."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from kit.broker_worlds import raw_client
from ramshare.agent import Agent, serve
from ramshare.bus.api import RequestArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Drain
from ramshare.settings import BrokerSettings


class DrainedAgent(Agent):
    """Answers `drain`, and does nothing else."""

    def begin(self) -> None:
        """Serve."""
        self.handle(Drain, self._drain)

    def tick(self) -> float:
        """Do nothing."""
        return 1.0

    def _drain(self, arrived: RequestArrived[Drain]) -> Reply:
        return Reply(request_id=arrived.request.request_id, sentence="Drained.")


def drained_agent(broker: dict[str, Any]) -> None:
    """Run an agent of the account in these settings until SIGTERM."""
    settings = BrokerSettings.model_validate(broker)
    serve(DrainedAgent(MqttBus(settings, settings.client or "")))


def flood(broker: dict[str, Any], server: str, requests: int) -> None:
    """Send so many requests to a server as fast as the broker takes them, each with an id of its own."""
    settings = BrokerSettings.model_validate(broker)
    client = raw_client(settings)
    client.loop_start()
    topic = f"ramshare/v1/request/{server}/{settings.client}/drain"
    payload = Drain(request_id="flood-000000").to_json()
    for number in range(requests):
        sent = client.publish(topic, payload.replace(b"000000", b"%06d" % number), qos=1)
        if number % 10_000 == 9_999 or number == requests - 1:
            sent.wait_for_publish(100)  # packets have 65,535 numbers
    client.disconnect()
    client.loop_stop()


@contextmanager
def running(target: Callable[..., None], settings: BrokerSettings, *arguments: object) -> Iterator[BaseProcess]:
    """Run one of the above in a process until it ends or the block does."""
    broker = settings.model_dump()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(broker, *arguments))
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join(10)
