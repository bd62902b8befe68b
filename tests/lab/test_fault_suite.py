"""A short selection of the fault suite; `make faults` plays all of it."""

import os
from collections.abc import Iterator

import pytest

from ramshare.messages.state import Mode
from ramshare_lab.experiments.faults.case import FaultRow
from ramshare_lab.experiments.faults.suite import run_suite, select

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SHORT = ("borrower-sync", "reclaim-mirror", "mirror-lender-last")
"""A dead agent goes on where it was, memory comes back in seconds, a dead lender costs nothing."""


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[str, FaultRow]]:
    report = run_suite(select(SHORT), name=f"flt{os.getpid() % 100_000}")
    yield {row.name: row for row in report.rows}


@pytest.mark.parametrize("name", SHORT)
def test_a_fault_costs_no_page_and_leaves_nothing_behind(rows: dict[str, FaultRow], name: str) -> None:
    row = rows[name]
    assert row.survived, row.note
    assert row.bad_pages == 0
    assert row.mode == Mode.MIRROR
