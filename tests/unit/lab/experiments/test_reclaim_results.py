"""Where the time of a reclaim went, told from the borrower's events."""

from datetime import UTC, datetime

from ramshare.messages.events import Event, EventKind
from ramshare_lab.experiments.reclaim.scenario import _steps


def event(kind: EventKind, sentence: str, number: int) -> Event:
    return Event(
        instance="b6b4f0ca84884f6c", seq=number, at=datetime(2026, 1, 1, tzinfo=UTC), kind=kind, sentence=sentence
    )


def test_steps_of_one_kind_are_added_up_whatever_lease_or_disk_they_are_about() -> None:
    asked = event(EventKind.VACATED, "ask borrower.hostx for 256 MiB back", 1)
    sentences = (
        "vg0/swap: let go of lc44b8d73fd-1: every page is on the local disk too",
        "vg0/swap: let go of l04c176b52c-12: every page is on the local disk too",
        "vg0/swap: log out of lease lc44b8d73fd-1",
        "vg0/swap: drop the mirror leg on /dev/sda, /dev/sdb",
    )
    steps = [event(EventKind.STEP, sentence, 2 + n) for n, sentence in enumerate(sentences)]
    released = event(EventKind.RELEASED, "256 MiB are back", 9)
    news = [(float(n), "agent", each) for n, each in enumerate((asked, *steps, released))]
    assert _steps(news, asked, released) == {
        "let go of": 2.0,
        "log out of": 1.0,
        "drop the mirror leg on": 1.0,
        "lender frees": 1.0,
    }
