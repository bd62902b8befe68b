"""Commands before a large cluster: a person is not made to wait for everything that is retained."""

import json

import pytest

from kit.cli_world import MIB, CliWorld, export, lease, offer, volume
from ramshare.cli.rows import Report
from ramshare.cli.session import LARGE_HOSTS, Session, named
from ramshare.messages.state import ManagerState, Memory, Status, VolumePhase

pytestmark = pytest.mark.unit

AWAY = ("hosty", "hostz")


@pytest.fixture
def world() -> CliWorld:
    """Of `LARGE_HOSTS` + 1 hosts, as the manager says, a few speak here."""
    world = CliWorld()
    manager = world.manager(offer("hosta"), offer("hostb"))
    totals = {"capacity_bytes": 4096 * MIB, "lent_bytes": 264 * MIB, "free_bytes": 3000 * MIB}
    summary = ManagerState(
        ready=True, lenders=LARGE_HOSTS + 1, borrowers=1, leases=1, reason="serving", away=2, away_hosts=AWAY, **totals
    )
    manager.tell("summary", summary)
    world.lender(offer("hosta")).tell("export/l1", export())
    world.lender(offer("hostb"))
    borrower = world.borrower("hostc")
    borrower.tell("lease/l1", lease())
    borrower.tell("volume/vg0/swap", volume(VolumePhase.ATTACHED, 256 * MIB, leases=("l1",)))
    return world


def session(world: CliWorld) -> Session:
    bus = world.bus_type(world.broker, "cli.alice")
    bus.connect()
    return Session(bus, "broker:1883", clock=lambda: world.broker.now_s)


def test_status_reads_totals_and_volumes_only(world: CliWorld) -> None:
    snapshot = session(world).look()
    assert snapshot.settled
    assert snapshot.clients() == ["borrower.hostc", "manager"]
    assert {path for client in snapshot.by_client.values() for path in client.messages} == {
        "summary",
        "status",
        "volume/vg0/swap",
    }


def test_status_shows_the_managers_totals_who_is_away_and_every_volume(world: CliWorld) -> None:
    shown = world.run("status").stdout
    assert f"{LARGE_HOSTS + 3} lending host(s), {LARGE_HOSTS + 1} there: 4 GiB lendable, 264 MiB lent" in shown
    assert "2 host(s) that lent or offered are offline or silent: hosty, hostz" in shown
    assert "vg0/swap" in shown
    assert "hosta" not in shown
    assert "--host NAME shows one, --limit 0 all" in shown


def test_one_host_is_shown_with_what_others_say_of_its_leases(world: CliWorld) -> None:
    for host in ("hosta", "hostc"):
        report = world.run_json("status", "--host", host, "--json")
        (row,) = report["leases"]
        assert (row["lender_phase"], row["borrower_phase"]) == ("attached", "attached")
        assert not row["stale"]
        assert report["warnings"] == []
    assert [row["host"] for row in world.run_json("status", "--host", "hosta", "--json")["hosts"]] == ["hosta"]


@pytest.mark.parametrize("host", ["+", "#", "a/b", "nobody"])
def test_a_host_that_nobody_is_named_after_is_unknown(world: CliWorld, host: str) -> None:
    assert "nobody named" in world.run("status", "--host", host).stderr


def test_in_json_nothing_is_left_out(world: CliWorld) -> None:
    report = world.run_json("status", "--json")
    assert {row["host"] for row in report["hosts"]} == {"hosta", "hostb"}
    assert len(report["agents"]) == 4
    assert report["totals"]["hosts"] == 2, "what was counted, not what the manager says"


def test_a_row_is_a_line_and_the_document_is_the_same_as_ever(world: CliWorld) -> None:
    text = world.run("status", "--json").stdout
    report = Report.model_validate_json(text)
    assert sum(line.startswith('{"host": "host') for line in text.splitlines()) == len(report.hosts) == 2
    assert report.narrow is False


def test_with_no_limit_everything_is_read(world: CliWorld) -> None:
    assert "hostb" in world.run("status", "--limit", "0").stdout


def test_why_and_borrow_find_their_host(world: CliWorld) -> None:
    assert "hostb offers" in world.run("why", "hostb").stdout
    done = world.run("borrow", "vg0/swap", "--host", "hostc")
    assert done.exit_code == 0, done.output


def test_what_of_a_large_cluster_changes_is_watched(world: CliWorld) -> None:
    watching = session(world)
    watching.look()
    world.borrower("hostd").tell("volume/vg1/swap", volume(VolumePhase.FAILED, volume="vg1/swap"))
    while watching.next(0.0) is not None:
        pass
    assert "borrower.hostd" in watching.snapshot.clients()


def test_a_manager_that_is_away_still_says_how_large_the_cluster_was(world: CliWorld) -> None:
    world.broker.crash("manager")
    world.broker.advance(10.0)
    assert "the manager is offline" in world.run("status").stdout


def test_after_the_broker_was_away_the_same_is_known(world: CliWorld) -> None:
    watching = session(world)
    before = watching.look().clients()
    world.broker.restart()
    while watching.next(0.0) is not None:
        pass
    assert watching.snapshot.settled
    assert watching.snapshot.clients() == before


def test_of_many_names_the_first_few_are_told() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named([f"h{n}" for n in range(10_000)]) == "h0, h1, h2, h3, h4 and 9995 more"


def test_guests_reports_are_not_read(world: CliWorld) -> None:
    from kit.memory_bus import MemoryBus

    guest = MemoryBus(world.broker, "guest.web1")
    guest.connect()
    guest.set_state("status", Status(status="online"))
    guest.set_state("memory", Memory(total_bytes=2, available_bytes=1, used_bytes=1, interval_s=5.0))
    assert "web1" not in world.run("status").stdout
    assert json.loads(world.run("status", "--json").stdout)["guests"]
