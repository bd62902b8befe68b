"""What `ramshare lab react` tells of a cluster that reacts by itself."""

from datetime import UTC, datetime

import pytest
from rich.console import Console

from ramshare.messages.events import Event, EventKind
from ramshare.settings import BorrowerSettings
from ramshare_lab.experiments.react.command import react_table
from ramshare_lab.experiments.react.results import BORROWING, RETURNING, Blip, React, Reaction, Refusal, sayings
from ramshare_lab.experiments.react.scenario import ReactPlan

pytestmark = pytest.mark.unit

REACT = React(
    accel="tcg",
    mode="move",
    disk_iops=120,
    volume_bytes=224 << 20,
    blip=Blip(seconds=3.0, loans=0),
    reaction=Reaction(
        decided_s=9.1,
        attached_s=60.0,
        before_s=100.0,
        after_s=950.0,
        lender_left_s=12.5,
        home_s=40.0,
        quiet_s=20.0,
    ),
    refusal=Refusal(decided_s=9.0, given_back_s=7.0, reason="a read takes 1 ms from it and 0.2 ms from the local disk"),
    needless_loans=0,
    bad_pages=0,
)


def demand(sentence: str, number: int) -> tuple[float, str, Event]:
    about = {"kind": EventKind.DEMAND, "sentence": sentence, "instance": "b6b4f0ca84884f6c", "seq": number}
    return float(number), "borrower.hostx", Event.model_validate({**about, "at": datetime(2026, 1, 1, tzinfo=UTC)})


def test_what_is_done_by_itself_is_told_from_what_could_not_be_done() -> None:
    events = [
        demand("borrowing 224 MiB for vg0/swap by move, by itself: a storm", 1),
        demand("vg0/swap stays as it is: the manager does not answer", 2),
        demand("returning vg0/swap by itself: nobody has swapped to it", 3),
    ]
    assert [at_s for at_s, _ in sayings(events, BORROWING)] == [1.0]
    assert [at_s for at_s, _ in sayings(events, RETURNING)] == [3.0]


def test_the_table_has_every_figure() -> None:
    console = Console(width=200, record=True)
    console.print(react_table(REACT))
    told = console.export_text()
    for figure in ("9.1 s", "60.0 s", "100, then 950 (9.5 times as many)", "12.5 s", "0 needless loans", "0.2 ms"):
        assert figure in told


def test_the_labs_settings_are_ones_that_a_borrower_takes() -> None:
    env = ReactPlan().lab("react").env
    settings = {name.removeprefix(BorrowerSettings.PREFIX).lower(): value for name, value in env.items()}
    assert BorrowerSettings.model_validate(settings).auto.keys() == {"vg0/swap"}
