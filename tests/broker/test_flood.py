"""One account that sends as fast as it can costs an agent next to nothing, and nobody else their answers."""

import time

import psutil
import pytest

from kit.broker_worlds import MosquittoWorld, eventually
from kit.processes import drained_agent, flood, running
from ramshare.bus.api import RequestTimeoutError
from ramshare.bus.core import CoreBus
from ramshare.messages.requests import Drain

pytestmark = pytest.mark.broker

ME = "lender.hosta"
FLOOD = 20_000
ANSWERED_S = 2.0
GROWS_BYTES = 8 << 20


def test_a_guest_that_floods_an_agent_is_not_heard_and_an_operator_is(mosquitto: MosquittoWorld) -> None:
    operator = mosquitto.bus("cli.alice")
    with running(drained_agent, mosquitto.broker.settings(ME)) as agent:
        eventually(lambda: answered_in_s(operator, 1) < ANSWERED_S)
        process = psutil.Process(agent.pid)
        before = peak = process.memory_info().rss
        began = time.monotonic()
        waits: list[float] = []
        with running(flood, mosquitto.broker.settings("guest.web1"), ME, FLOOD) as flooding:
            while flooding.is_alive():
                waits.append(answered_in_s(operator, 60))
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.1)
            assert flooding.exitcode == 0
        sent_s = time.monotonic() - began
        waits.append(answered_in_s(operator, 60))
        peak = max(peak, process.memory_info().rss)
    print(
        f"{FLOOD} requests in {sent_s:.1f} s; of {len(waits)} answers to an operator the slowest took "
        f"{max(waits):.2f} s; the agent: {before >> 20} -> {peak >> 20} MiB"
    )
    assert max(waits) < ANSWERED_S
    assert peak - before < GROWS_BYTES


def answered_in_s(operator: CoreBus, timeout_s: float) -> float:
    """Ask once; infinite if nobody answers."""
    began = time.monotonic()
    try:
        assert operator.ask(ME, Drain(), timeout_s).result(timeout_s + 1).ok
    except RequestTimeoutError:
        return float("inf")
    return time.monotonic() - began
