import json
from pathlib import Path

import pytest

from kit.cli_world import DRAINING, MIB, CliWorld, KeyboardBus, PatientBus, Scripted, isolate, lease, offer, volume
from kit.memory_bus import memory_bus
from ramshare.bus.api import RequestArrived
from ramshare.cli.rows import Report
from ramshare.messages.events import Event, EventKind
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Drain
from ramshare.messages.state import Decisions, Status, VolumePhase

pytestmark = pytest.mark.unit


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliWorld:
    isolate(monkeypatch, tmp_path)
    return CliWorld()


def test_status_shows_every_part_of_the_cluster(world: CliWorld) -> None:
    world.manager(offer())
    world.lender(offer())
    world.borrower().tell("volume/vg0/swap", volume(VolumePhase.ATTACHED, 256 * MIB))
    result = world.run("status")
    assert result.exit_code == 0
    for word in ("hosta", "vg0/swap", "attached", "manager", "borrower.hostc", "local /dev/vda 256 MiB"):
        assert word in result.stdout


def test_status_in_json_has_the_documented_keys(world: CliWorld) -> None:
    world.manager(offer())
    world.lender(offer())
    borrower = world.borrower()
    borrower.tell("volume/vg0/swap", volume(VolumePhase.ATTACHED, 256 * MIB))
    borrower.tell("lease/l1", lease())
    told = world.run_json("status", "--json")
    assert set(told) == set(Report.model_fields)
    report = Report.model_validate(told)
    assert report.complete
    assert report.manager is not None
    assert report.manager.ready
    assert report.hosts[0].free_bytes == 512 * MIB
    assert report.volumes[0].remote_bytes == 256 * MIB
    assert report.warnings == ["borrower.hostc holds lease l1, but lender.hosta has no such export"]


def test_status_of_an_empty_broker_is_no_failure(world: CliWorld) -> None:
    result = world.run("status")
    assert result.exit_code == 0
    assert "there is no manager" in result.stdout


def test_a_command_leaves_nothing_behind_on_the_broker(world: CliWorld) -> None:
    before = world.broker.retained()
    world.run("status")
    assert world.broker.retained() == before


def test_watch_ends_after_the_time_given(world: CliWorld) -> None:
    world.lender(offer())
    result = world.run("watch", "--for", "300")
    assert result.exit_code == 0
    assert "hosta" in result.stdout


def test_ctrl_c_ends_watch_and_listen_with_130(world: CliWorld) -> None:
    world.bus_type = KeyboardBus
    assert world.run("watch").exit_code == 130
    assert world.run("listen").exit_code == 130


def test_why_tells_the_reason_and_the_last_decisions(world: CliWorld) -> None:
    world.lender(offer(reason="the owner's limit"))
    result = world.run("why", "hosta")
    assert "the owner's limit" in result.stdout
    assert "2026-01-01T00:00:00Z 0 starting" in result.stdout
    told = world.run_json("why", "hosta", "--json")
    assert told["offer"]["reason"] == "the owner's limit"
    assert told["decisions"][-1] == "then more"


def test_why_tells_what_a_borrower_decided_by_itself_though_it_lends_nothing(world: CliWorld) -> None:
    borrower = Scripted(world.broker, "borrower.hostx")
    borrower.tell("decisions", Decisions(decisions=("2026-01-01T00:00:00Z vg0/swap: stay, calm",)))
    assert "vg0/swap: stay, calm" in world.run("why", "hostx").stdout
    told = world.run_json("why", "hostx", "--json")
    assert told["offer"] is None
    assert told["demand"] == ["2026-01-01T00:00:00Z vg0/swap: stay, calm"]
    borrower.tell("status", Status(status="offline"))
    assert "its last words" in world.run("why", "hostx").stderr


def test_why_of_an_absent_lender_says_that_it_is_its_last_word(world: CliWorld) -> None:
    world.lender(offer()).tell("status", Status(status="offline"))
    assert "its last word" in world.run("why", "hosta").stderr


@pytest.mark.parametrize("command", ["why", "drain", "undrain"])
def test_an_unknown_host_is_refused_and_the_known_ones_are_named(world: CliWorld, command: str) -> None:
    world.lender(offer())
    result = world.run(command, "nowhere", "--json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["error"]["code"] == "unknown-name"
    assert "hosta" in result.stderr


def test_drain_waits_until_all_memory_is_back(world: CliWorld) -> None:
    lender = world.lender(offer(lent_bytes=128 * MIB), DRAINING)
    told = world.run_json("drain", "hosta", "--json")
    assert (told["done"], told["lent_bytes"]) == (True, 0)
    assert isinstance(lender.asked[0], Drain)
    assert "is drained: all memory is back" in world.run("drain", "hosta").stdout


def test_drain_gives_up_waiting_in_time_and_says_what_is_left(world: CliWorld) -> None:
    def stuck(agent: Scripted, arrived: RequestArrived) -> None:
        agent.bus.answer(arrived, Reply(request_id=arrived.request.request_id))
        agent.tell("offer", offer(lent_bytes=64 * MIB, draining=True))

    world.lender(offer(), {Drain: stuck})
    result = world.run("drain", "hosta", "--timeout", "600")
    assert result.exit_code == 1
    assert "hosta still has 64 MiB lent" in result.stderr


def test_undrain_lets_a_host_lend_again(world: CliWorld) -> None:
    world.lender(offer(draining=True), DRAINING)
    told = world.run_json("undrain", "hosta", "--json")
    assert (told["done"], told["draining"]) == (True, False)


class Chatty(PatientBus):
    """Hears two events as soon as it watches."""

    def watch_events(self, client: str = "+", kind: str = "#") -> None:
        super().watch_events(client, kind)
        speaker = memory_bus(self.broker, "manager")
        for kind_, sentence in ((EventKind.GRANTED, "gave 1"), (EventKind.FAILED, "gave up")):
            speaker.event(kind_, Event(kind=kind_, sentence=sentence, size_bytes=5))


def test_listen_tells_events_as_sentences(world: CliWorld) -> None:
    world.bus_type = Chatty
    lines = world.run("listen", "--count", "2").stdout.splitlines()
    assert [line[10:] for line in lines] == ["manager            gave 1", "manager            gave up"]


def test_listen_in_json_is_one_object_a_line(world: CliWorld) -> None:
    world.bus_type = Chatty
    lines = [json.loads(line) for line in world.run("listen", "--count", "2", "--json").stdout.splitlines()]
    assert [(line["client"], line["kind"], line["sentence"], line["size_bytes"]) for line in lines] == [
        ("manager", "granted", "gave 1", 5),
        ("manager", "failed", "gave up", 5),
    ]
    assert lines[0]["schema"] == "event/1"


def test_a_broker_that_goes_away_while_watching_is_said(world: CliWorld) -> None:
    class Cut(PatientBus):
        def watch_events(self, client: str = "+", kind: str = "#") -> None:
            super().watch_events(client, kind)
            world.broker.cut("cli.alice")

    world.bus_type = Cut
    assert "The broker is away" in world.run("listen", "--for", "60").stderr


def test_a_second_command_of_the_same_account_ends_the_first_with_a_reason(world: CliWorld) -> None:
    class Rival(PatientBus):
        def watch_events(self, client: str = "+", kind: str = "#") -> None:
            super().watch_events(client, kind)
            memory_bus(world.broker, "cli.alice")

    world.bus_type = Rival
    result = world.run("listen", "--for", "5")
    assert result.exit_code == 1
    assert "another command connected as cli.alice" in result.stderr
