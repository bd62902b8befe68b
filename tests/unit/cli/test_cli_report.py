from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from kit.cli_world import MIB, export, lease, lease_record, offer, record, volume
from ramshare.bus.api import EventArrived, StateArrived
from ramshare.cli import tables
from ramshare.cli.alerts import find_alerts
from ramshare.cli.report import build
from ramshare.cli.snapshot import Snapshot
from ramshare.messages.base import Message
from ramshare.messages.events import Event, EventKind
from ramshare.messages.state import LeasePhase, ManagerState, Memory, Status, VolumePhase

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def said(snapshot: Snapshot, client: str, path: str, message: Message, age_s: float = 1.0) -> None:
    stamped = message.stamped("run", 1, NOW - timedelta(seconds=age_s))
    snapshot.hear(StateArrived(client, path, stamped, retained=True), NOW)


def summary(leases: int = 0, *, ready: bool = True) -> ManagerState:
    totals = {"capacity_bytes": 0, "lent_bytes": 0, "free_bytes": 0}
    return ManagerState.model_validate(
        {"ready": ready, "lenders": 1, "borrowers": 1, "leases": leases, **totals, "reason": "serving"}
    )


def healthy() -> Snapshot:
    """A lender, a borrower with an attached volume, and a manager."""
    snapshot = Snapshot()
    for client in ("manager", "lender.hosta", "borrower.hostc", "guest.web1"):
        said(snapshot, client, "status", Status(status="online", version="0.1.0"))
    said(snapshot, "manager", "summary", summary(1))
    said(snapshot, "manager", "host/hosta", record(offer()))
    said(snapshot, "manager", "lease/l1", lease_record())
    said(snapshot, "lender.hosta", "offer", offer(lent_bytes=264 * MIB, free_bytes=248 * MIB))
    said(snapshot, "lender.hosta", "export/l1", export())
    said(snapshot, "borrower.hostc", "lease/l1", lease())
    attached = volume(
        VolumePhase.ATTACHED,
        256 * MIB,
        leases=("l1",),
        placement=(f"local /dev/vda {256 * MIB}", f"lender.hosta /dev/sdb {256 * MIB}"),
    )
    said(snapshot, "borrower.hostc", "volume/vg0/swap", attached)
    memory = Memory(total_bytes=1024 * MIB, available_bytes=700 * MIB, used_bytes=324 * MIB, interval_s=5.0)
    said(snapshot, "guest.web1", "memory", memory)
    snapshot.settle()
    return snapshot


def drawn(snapshot: Snapshot) -> str:
    console = Console(file=StringIO(), width=200, highlight=False)
    console.print(tables.status(build(snapshot, "broker:1883", NOW)))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_a_healthy_cluster_has_nothing_to_warn_of() -> None:
    report = build(healthy(), "broker:1883", NOW)
    assert report.warnings == []
    assert report.hosts[0].lent_bytes == 264 * MIB
    assert report.leases[0].lender_phase == report.leases[0].borrower_phase == "attached"
    assert report.leases[0].volume == "vg0/swap"
    assert [row.client for row in report.agents] == ["manager", "lender.hosta", "borrower.hostc", "guest.web1"]
    assert report.agents[0].age_s == 1.0


def test_the_table_says_where_the_pages_lie() -> None:
    shown = drawn(healthy())
    assert "local /dev/vda 256 MiB, lender.hosta /dev/sdb 256 MiB" in shown
    assert "1 lending host(s), 1 there: 512 MiB lendable, 264 MiB lent, 248 MiB free" in shown


def test_an_empty_cluster_draws_no_empty_tables() -> None:
    snapshot = Snapshot()
    snapshot.settle()
    assert drawn(snapshot).count("\n") == 2  # the missing manager, and the summary


@pytest.mark.parametrize(
    ("client", "warning"),
    [
        ("manager", "the manager has been silent for 10 min although the broker calls it online: no new loans"),
        ("lender.hosta", "lender.hosta has been silent for 10 min"),
        ("borrower.hostc", "borrower.hostc has been silent for 10 min"),
    ],
)
def test_an_agent_that_missed_its_heartbeats_is_told_loudly(client: str, warning: str) -> None:
    snapshot = healthy()
    for path, message in snapshot.by_client.pop(client).messages.items():
        said(snapshot, client, path, message, age_s=600.0)
    assert any(found.startswith(warning) for found in find_alerts(snapshot, NOW))


def test_old_facts_of_an_agent_that_still_speaks_are_not_stale() -> None:
    snapshot = healthy()
    said(snapshot, "lender.hosta", "offer", offer(), age_s=3600.0)
    report = build(snapshot, "b", NOW)
    assert report.warnings == []
    assert report.hosts[0].age_s == 3600.0
    assert not report.hosts[0].stale


@pytest.mark.parametrize("offline", [True, False])
def test_a_manager_that_is_away_is_the_first_thing_said(offline: bool) -> None:
    snapshot = healthy()
    if offline:
        said(snapshot, "manager", "status", Status(status="offline"))
    else:
        del snapshot.by_client["manager"]
    first = find_alerts(snapshot, NOW)[0]
    assert "manager" in first
    assert "loans that exist go on" in first


def test_without_a_manager_the_lenders_own_word_counts() -> None:
    snapshot = healthy()
    said(snapshot, "manager", "host/hosta", record(offer(), exportable=False, reason="its own swap is remote"))
    assert not build(snapshot, "b", NOW).hosts[0].exportable
    assert build(snapshot, "b", NOW).hosts[0].reason == "its own swap is remote"
    said(snapshot, "manager", "status", Status(status="offline"))
    assert build(snapshot, "b", NOW).hosts[0].exportable


def test_gaps_in_the_snapshot_are_told() -> None:
    snapshot = healthy()
    said(snapshot, "manager", "summary", summary(12))
    snapshot.settled = False
    alerts = find_alerts(snapshot, NOW)
    assert "did not send everything" in alerts[0]
    assert "counts 12 leases, 1 of its records" in alerts[1]


def test_a_certificate_that_expires_within_a_month_is_told_with_the_command() -> None:
    snapshot = healthy()
    assert not any("certificate" in alert for alert in find_alerts(snapshot, NOW))
    status = Status(status="online", certificate_ends=NOW + timedelta(days=12, hours=1))
    said(snapshot, "lender.hosta", "status", status)
    (alert,) = [alert for alert in find_alerts(snapshot, NOW) if "certificate" in alert]
    assert alert.startswith("the certificate of lender.hosta expires in 12 days")
    assert "ramshare broker renew" in alert


def test_a_lease_that_its_lender_does_not_know_is_told() -> None:
    snapshot = healthy()
    snapshot.hear(StateArrived("lender.hosta", "export/l1", None, retained=False), NOW)
    assert "borrower.hostc holds lease l1, but lender.hosta has no such export" in find_alerts(snapshot, NOW)
    assert "no export" in drawn(snapshot)


def test_a_lost_lease_is_told_by_name() -> None:
    snapshot = healthy()
    said(snapshot, "borrower.hostc", "lease/l1", lease(phase=LeasePhase.LOST))
    assert "borrower.hostc has lost lease l1 of lender.hosta (vg0/swap)" in find_alerts(snapshot, NOW)


def test_a_lease_of_which_only_the_record_is_left_is_shown_as_stale() -> None:
    snapshot = healthy()
    snapshot.hear(StateArrived("lender.hosta", "export/l1", None, retained=False), NOW)
    snapshot.hear(StateArrived("borrower.hostc", "lease/l1", None, retained=False), NOW)
    row = build(snapshot, "b", NOW).leases[0]
    assert row.stale
    assert "only the manager's record" in row.reason


def test_a_failed_volume_and_a_clock_ahead_are_told() -> None:
    snapshot = healthy()
    said(snapshot, "borrower.hostc", "volume/vg0/swap", volume(VolumePhase.FAILED, step="no disk"))
    said(snapshot, "guest.web1", "status", Status(status="online"), age_s=-30.0)
    alerts = find_alerts(snapshot, NOW)
    assert "vg0/swap of hostc failed: no disk" in alerts
    assert "the clock of guest.web1 is 30 s ahead of this machine's" in alerts


def test_commands_of_people_are_listed_only_while_they_are_there() -> None:
    snapshot = healthy()
    said(snapshot, "cli.bob", "status", Status(status="offline"))
    assert "cli.bob" not in [row.client for row in build(snapshot, "b", NOW).agents]


def test_an_event_is_one_line_of_a_story() -> None:
    event = Event(kind=EventKind.GRANTED, sentence="vg0/swap gets 2 leases\n\x1b[31m").stamped("run", 1, NOW)
    line = tables.event_line(EventArrived("manager", "granted", event)).plain
    assert line.endswith("  manager            vg0/swap gets 2 leases  [31m")
    assert "\x1b" not in line


def test_markup_in_a_reason_is_shown_as_it_is() -> None:
    snapshot = healthy()
    said(snapshot, "manager", "host/hosta", record(offer(), reason="[bold]not bold[/bold] [/]"))
    assert "[bold]not bold[/bold] [/]" in drawn(snapshot)


def test_segments_that_lvm_words_otherwise_are_shown_as_they_are() -> None:
    assert tables.placement(["/dev/sda 1048576", "odd", "x ²"]) == "/dev/sda 1 MiB, odd, x ²"
    assert tables.placement([]) == "-"


def of_two_managers(**active: bool) -> Snapshot:
    """Managers by host: which of them are online, and whether they say that they are active."""
    snapshot = healthy()
    del snapshot.by_client["manager"]
    for generation, (host, is_active) in enumerate(active.items(), 7):
        told = summary(1).model_copy(update={"active": is_active, "generation": generation if is_active else 0})
        said(snapshot, f"manager.{host}", "status", Status(status="online"))
        said(snapshot, f"manager.{host}", "summary", told)
        said(snapshot, f"manager.{host}", "lease/l1", lease_record())
    return snapshot


def test_of_two_managers_the_active_one_is_shown_and_who_stands_by() -> None:
    snapshot = of_two_managers(hosta=False, hostb=True)
    report = build(snapshot, "b", NOW)
    assert report.manager is not None
    assert (report.manager.client, report.manager.standbys) == ("manager.hostb", ["manager.hosta"])
    assert report.warnings == []
    assert "manager.hostb makes loans; standing by: manager.hosta" in drawn(snapshot)


def test_of_two_that_call_themselves_active_the_newer_one_counts() -> None:
    report = build(of_two_managers(hosta=True, hostb=True), "b", NOW)
    assert report.manager is not None
    assert (report.manager.client, report.manager.generation) == ("manager.hostb", 8)


def test_that_nobody_stands_by_any_more_is_told_and_so_is_that_nobody_is_active_yet() -> None:
    snapshot = of_two_managers(hosta=True, hostb=False)
    said(snapshot, "manager.hostb", "status", Status(status="offline"))
    assert "no other manager stands by: manager.hostb is offline" in find_alerts(snapshot, NOW)[0]
    assert "no manager is active yet" in find_alerts(of_two_managers(hosta=False, hostb=False), NOW)[0]


def test_a_guest_of_a_large_cluster_tells_no_status_and_is_there_as_long_as_it_reports() -> None:
    """Their bridge says what they use and nothing else."""
    snapshot = healthy()
    memory = Memory(total_bytes=1024 * MIB, available_bytes=700 * MIB, used_bytes=324 * MIB, interval_s=5.0)
    said(snapshot, "guest.web2", "memory", memory)
    said(snapshot, "guest.web3", "memory", memory, age_s=3600)
    report = build(snapshot, "broker:1883", NOW)
    assert {row.client: row.stale for row in report.guests} == {
        "guest.web1": False,
        "guest.web2": False,
        "guest.web3": True,
    }
    assert {row.client for row in report.agents if not row.online} == {"guest.web3"}
    (warning,) = report.warnings
    assert "guest.web3" in warning
