"""Ten thousand hosts stay readable: totals of all, what needs attention first, one host when asked for."""

import io
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ramshare.bus.api import StateArrived
from ramshare.cli import tables
from ramshare.cli.focus import DEFAULT_LIMIT, Focus, known, of_host
from ramshare.cli.report import build
from ramshare.cli.rows import HostRow, Report
from ramshare.cli.snapshot import Snapshot
from ramshare.messages.state import Offer, Status

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def row(host: str, *, stale: bool = False, draining: bool = False, lent_bytes: int = 0) -> HostRow:
    return HostRow(
        host=host,
        lender=f"lender.{host}",
        address="10.0.0.1:3260",
        online=not stale,
        exportable=True,
        draining=draining,
        capacity_bytes=1 << 30,
        lent_bytes=lent_bytes,
        free_bytes=1 << 30,
        committed_bytes=0,
        committed_free_bytes=0,
        reason="spare",
        age_s=1.0,
        stale=stale,
    )


def cluster(hosts: int) -> Snapshot:
    snapshot = Snapshot()
    for number in range(hosts):
        host = f"h{number:05}"
        offer = Offer(
            host=host,
            portal="10.0.0.1:3260",
            capacity_bytes=1 << 30,
            lent_bytes=0,
            free_bytes=1 << 30,
            exportable=True,
            reason="spare",
        )
        for path, message in (("status", Status(status="online")), ("offer", offer)):
            snapshot.hear(StateArrived(f"lender.{host}", path, message.stamped("i1", 1, NOW), True), NOW)
    snapshot.settle()
    return snapshot


def text(report: Report, limit: int) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tables.status(report, Focus(limit)))
    return console.export_text()


def test_what_needs_attention_is_shown_first_and_the_rest_is_counted() -> None:
    rows = [row(f"h{n}") for n in range(100)]
    rows[70], rows[80], rows[90] = row("late", stale=True), row("drained", draining=True), row("lends", lent_bytes=1)
    shown, hidden = Focus(4).of(rows)
    assert [r.host for r in shown] == ["h0", "late", "drained", "lends"]
    assert hidden == 96


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 70))
def test_nothing_that_needs_attention_is_hidden_behind_what_does_not(stale: list[bool], limit: int) -> None:
    rows = [row(f"h{n}", stale=is_stale) for n, is_stale in enumerate(stale)]
    shown, hidden = Focus(limit).of(rows)
    assert len(shown) + hidden == len(rows)
    assert shown == [r for r in rows if r in shown], "in their order"
    if hidden:
        assert len(shown) == limit
        assert all(r.stale for r in shown) or {r.host for r in rows if r.stale} <= {r.host for r in shown}


def test_totals_are_of_all_and_a_line_says_what_is_not_shown() -> None:
    shown = text(build(cluster(300), "b", NOW), 10)
    assert "300 lending host(s), 300 there" in shown
    assert "and 290 more" in shown
    assert shown.count("10.0.0.1:3260") == 10
    assert text(build(cluster(300), "b", NOW), 0).count("10.0.0.1:3260") == 300


def test_one_host_is_shown_with_what_is_about_it_only() -> None:
    report = build(cluster(300), "b", NOW)
    one = of_host(report, "h00007")
    assert [r.host for r in one.hosts] == ["h00007"]
    assert [r.client for r in one.agents] == ["lender.h00007"]
    assert known(one)
    assert not known(of_host(report, "nosuch"))


def test_many_warnings_do_not_push_the_cluster_off_the_screen() -> None:
    found = Focus(3).sentences([f"lender.h{n} has been silent" for n in range(10)])
    assert len(found) == 4
    assert found[-1] == "and 7 more warnings; --limit 0 shows all"


def test_ten_thousand_hosts_are_a_matter_of_a_few_screens() -> None:
    snapshot = cluster(10_000)
    began_s = time.process_time()
    shown = text(build(snapshot, "b", NOW), DEFAULT_LIMIT)
    took_s = time.process_time() - began_s
    assert len(shown.splitlines()) < 2 * DEFAULT_LIMIT + 20
    assert took_s < 5.0, "half a second on a machine that has nothing else to do"
