"""Whatever agents, guests and strangers publish, a terminal shows it as text and no command ends of it."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table

from kit.cli_world import MIB, CliWorld, Scripted, attaches, isolate, offer, volume
from kit.memory_bus import memory_bus
from ramshare.bus.wire import Packet
from ramshare.cli.output import PlainConsole
from ramshare.messages.base import Message
from ramshare.messages.events import Event, EventKind
from ramshare.messages.requests import BorrowVolume
from ramshare.messages.state import Decisions, VolumePhase

pytestmark = pytest.mark.unit

HOSTILE = "[/red] [bold]\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066 :smile: \r\n\x7f[link=file:///x]"
FORBIDDEN = set(HOSTILE) - {c for c in HOSTILE if c.isprintable()} - {"\n"}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliWorld:
    isolate(monkeypatch, tmp_path)
    return CliWorld()


def claim(world: CliWorld, client: str, path: str, message: Message) -> None:
    """Publish what no agent of that role would."""
    if not world.broker.is_up(client):
        memory_bus(world.broker, client)
    world.broker.send(client, Packet(f"ramshare/v1/state/{client}/{path}", message.to_json(), retain=True))


def assert_harmless(text: str) -> None:
    assert not FORBIDDEN & set(text), ascii(text)


@pytest.fixture
def hostile(world: CliWorld) -> CliWorld:
    """A cluster in which every sentence is an attack."""
    world.manager(offer(reason=HOSTILE))
    world.lender(offer(reason=HOSTILE)).tell("decisions", Decisions(decisions=(HOSTILE, HOSTILE)))
    told = [volume(phase, 256 * MIB, step=HOSTILE) for phase in (VolumePhase.ATTACHING, VolumePhase.ATTACHED)]
    world.borrower("hostc", {BorrowVolume: attaches(*told)}).tell(
        "volume/vg0/swap", volume(VolumePhase.FAILED, step=HOSTILE)
    )
    return world


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("status", "--json"),
        ("why", "hosta"),
        ("why", "hosta", "--json"),
        ("watch", "--for", "1"),
        ("borrow", "vg0/swap", "--host", "hostc"),
        ("borrow", "vg0/swap", "--host", "hostc", "--dry-run"),
        ("borrow", "vg0/swap", "--host", "hostc", "--no-wait"),
    ],
    ids=" ".join,
)
def test_no_command_hands_a_control_character_or_markup_to_the_terminal(
    hostile: CliWorld, command: tuple[str, ...]
) -> None:
    result = hostile.run(*command)
    assert result.exit_code in (0, 1, 5), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert_harmless(result.stdout)
    assert_harmless(result.stderr)


def test_markup_in_a_decision_is_shown_as_it_is(hostile: CliWorld) -> None:
    assert "[/red] [bold]" in hostile.run("why", "hosta").stdout


@given(st.text(max_size=60))
def test_nothing_unprintable_passes_the_console_in_whatever_it_is_wrapped(text: str) -> None:
    console = PlainConsole(file=io.StringIO(), width=100)
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console.print(text, table, Panel(text))
    shown = console.file
    assert isinstance(shown, io.StringIO)
    assert all(c.isprintable() or c == "\n" for c in shown.getvalue())


@given(st.text(max_size=60))
def test_on_a_terminal_only_the_escapes_of_the_style_are_left(text: str) -> None:
    console = PlainConsole(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    console.print(text)
    shown = console.file
    assert isinstance(shown, io.StringIO)
    assert all(c.isprintable() or c == "\n" for c in shown.getvalue())


ODD_TIMES = [
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "1970-01-01T00:00:00+14:00",
    "2199-12-31T23:59:59Z",
]


@pytest.mark.parametrize("at", ODD_TIMES)
@pytest.mark.parametrize(
    "command", [("listen", "--count", "1"), ("listen", "--count", "1", "--json"), ("watch", "--for", "1")]
)
def test_an_event_of_any_time_ends_no_command(world: CliWorld, command: tuple[str, ...], at: str) -> None:
    class Late(world.bus_type):  # type: ignore[misc, name-defined]
        """Hears an event of that time, then an ordinary one."""

        def watch_events(self, client: str = "+", kind: str = "#") -> None:
            super().watch_events(client, kind)
            speaker = memory_bus(self.broker, "manager")
            event = Event(kind=EventKind.GRANTED, sentence="odd").model_dump(mode="json", by_alias=True)
            topic = "ramshare/v1/event/manager/granted"
            self.broker.send("manager", Packet(topic, json.dumps({**event, "at": at}).encode()))
            speaker.event(EventKind.GRANTED, Event(kind=EventKind.GRANTED, sentence="gave 1"))

    world.bus_type = Late
    result = world.run(*command)
    assert result.exit_code == 0, result.output


def test_a_heartbeat_of_an_odd_time_leaves_status_as_it_is(world: CliWorld) -> None:
    for agent in (world.manager(offer()), world.lender(offer()), world.borrower()):
        told = agent.bus
        told.set_state("status", None)
    for wall in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC) - timedelta(days=1)):
        lender = Scripted(world.broker, "lender.hostb")
        lender.tell("offer", offer("hostb").stamped("odd", 1, wall))
        assert world.run("status").exit_code == 0


@pytest.mark.parametrize("role", ["guest.web1", "cli.eve", "dashboard"])
def test_status_shows_no_volume_and_no_lender_that_somebody_else_claims(world: CliWorld, role: str) -> None:
    world.manager(offer())
    world.lender(offer())
    claim(world, role, "volume/vg0/stolen", volume(VolumePhase.ATTACHED, 256 * MIB, volume="vg0/stolen"))
    claim(world, role, "offer", offer("ghost"))
    report = world.run_json("status", "--json")
    assert [row["host"] for row in report["hosts"]] == ["hosta"]
    assert report["volumes"] == []


def test_a_lender_speaks_for_its_own_host_only(world: CliWorld) -> None:
    world.lender(offer())
    Scripted(world.broker, "lender.eve").tell("offer", offer("hosta", capacity_bytes=1 << 40, free_bytes=1 << 40))
    (host,) = world.run_json("status", "--json")["hosts"]
    assert host["capacity_bytes"] == offer().capacity_bytes


def test_thousands_of_topics_of_a_guest_are_read_past(world: CliWorld) -> None:
    world.manager(offer())
    failed = volume(VolumePhase.FAILED, step=HOSTILE)
    for number in range(3000):
        claim(world, "guest.web1", f"volume/vg0/v{number}", failed)
    report = world.run_json("status", "--json")
    assert report["volumes"] == []
    assert report["warnings"] == []


def test_markup_in_a_step_is_no_markup_in_the_bar_of_a_terminal(
    hostile: CliWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = hostile.run("borrow", "vg0/swap", "--host", "hostc")
    assert result.exit_code == 0, result.output
    assert "\x07" not in result.output
    assert "[/red]" in result.output
