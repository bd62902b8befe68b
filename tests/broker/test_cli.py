"""The command line against a real Mosquitto: what only a real connection can show."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli_world import MIB, export, isolate, offer
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import ExitCode
from ramshare.linux.run import SystemRunner
from ramshare.messages.state import Status
from ramshare_lab.cluster.broker import RunningBroker, free_port, start_broker

pytestmark = pytest.mark.broker
ACCOUNTS = ["manager", "lender.hosta", "cli.alice", "cli.alice-2", "dashboard"]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RunningBroker]:
    isolate(monkeypatch, tmp_path)
    with start_broker(SystemRunner(), tmp_path / "broker", ACCOUNTS) as running:
        yield running


def command(broker: RunningBroker, *args: str) -> list[str]:
    """A command of alice, who has two accounts."""
    where = ["--broker", f"{broker.host}:{broker.port}", "--tls", str(broker.tls_directory("cli.alice"))]
    return [sys.executable, "-m", "ramshare.cli.main", *where, *args]


def alice() -> dict[str, str]:
    return {**os.environ, "RAMSHARE_CLIENT": "cli.alice"}


def call(broker: RunningBroker, *args: str) -> "subprocess.CompletedProcess[str]":
    argv = command(broker, *args)
    return subprocess.run(argv, env=alice(), capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def lender(broker: RunningBroker) -> Iterator[MqttBus]:
    bus = MqttBus(broker.settings("lender.hosta"), "lender.hosta")
    bus.connect()
    bus.set_state("status", Status(status="online"))
    bus.set_state("offer", offer())
    yield bus
    bus.close()


def test_status_is_complete_with_thousands_of_topics(broker: RunningBroker, lender: MqttBus) -> None:
    for number in range(3000):
        lender.set_state(f"export/x{number}", export(lease=f"x{number}"))
    lender.close()
    lender.connect()  # the broker has acknowledged all of it
    done = call(broker, "status", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["complete"]
    assert told["hosts"][0]["free_bytes"] == 512 * MIB
    assert len(told["leases"]) == 3000


def test_a_person_without_an_account_is_told_where_one_comes_from(broker: RunningBroker) -> None:
    done = call(broker, "--client", "cli.mallory", "status")
    assert done.returncode == ExitCode.NOT_AUTHORISED
    assert "cli.mallory.crt" in done.stderr
    assert "ramshare broker init" in done.stderr


def test_no_broker_is_told_soon_and_ends_with_3(broker: RunningBroker) -> None:
    began = time.monotonic()
    done = call(broker, "--broker", f"127.0.0.1:{free_port()}", "status")
    assert done.returncode == ExitCode.NO_BROKER
    assert "no broker at 127.0.0.1" in done.stderr
    assert time.monotonic() - began < 15


def test_a_status_does_not_throw_out_a_running_watch(broker: RunningBroker, lender: MqttBus) -> None:
    argv = command(broker, "listen", "--for", "30", "--json")
    with subprocess.Popen(argv, env=alice(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listening:
        assert listening.stderr is not None
        assert "Listening" in listening.stderr.readline()
        done = call(broker, "status", "--json")
        assert done.returncode == 0, done.stderr
        assert listening.poll() is None
        listening.send_signal(signal.SIGINT)
        assert listening.wait(20) == ExitCode.INTERRUPTED
