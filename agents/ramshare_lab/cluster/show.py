"""How a long run in the lab tells what it does; the command line draws it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ramshare.messages.state import Volume


class Show(Protocol):
    """Where a run tells it."""

    def stage(self, title: str) -> None:
        """Begin a stage."""
        ...

    def progress(self, done: float, text: str) -> None:
        """Show how far the stage is, 0 to 1."""
        ...

    def note(self, text: str) -> None:
        """Say one line that stays."""
        ...


@contextmanager
def timed_stage(show: Show, title: str) -> Iterator[None]:
    """Announce a stage and note how long it took."""
    show.stage(title)
    started = time.monotonic()
    yield
    show.note(f"{title}: {time.monotonic() - started:.1f} s")


def follower(show: Show) -> Callable[[Volume], None]:
    """Return what shows how far a volume is."""
    return lambda volume: show.progress(volume.progress_percent / 100.0, volume.step)
