"""What a long run in the lab tells of itself, and how that is drawn: stages with a bar, notes that stay."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ramshare.cli.output import err
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


class LiveShow:
    """Tells a run's stages: one line each that stays, and a bar for the one under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, detail="")
        self._started = time.monotonic()

    def stage(self, title: str) -> None:
        """Begin a stage."""
        self._progress.update(self._task, description=title, completed=0, total=None, detail="")
        if not self._progress.console.is_terminal:
            self.note(f"{title} …")

    def progress(self, done: float, text: str) -> None:
        """Show how far it is."""
        self._progress.update(self._task, total=1.0, completed=min(1.0, done), detail=text)

    def note(self, text: str) -> None:
        """Say one line that stays."""
        elapsed = time.monotonic() - self._started
        # What is told may hold brackets: LVM calls a missing disk [unknown].
        self._progress.console.print(Text.assemble((f"{elapsed:6.1f} s", "dim"), f"  {text}"), soft_wrap=True)


@contextmanager
def showing(console: Console | None = None) -> Iterator[LiveShow]:
    """Draw progress on a console, by default standard error, for the time of the block."""
    title, detail = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[detail]}", markup=False)
    columns = (SpinnerColumn(), title, BarColumn(bar_width=30), TimeElapsedColumn(), detail)
    with Progress(*columns, console=console or err(), transient=True) as progress:
        yield LiveShow(progress)
