"""What the long lab commands share: their options, stages with a progress bar, and an orderly end on every signal."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ramshare.cli.output import err

Name = Annotated[str, typer.Option(help="Name of the lab; two of different names can run side by side.")]
Results = Annotated[Path, typer.Option(help="Directory for JSON and charts.")]
Accel = Annotated[str, typer.Option(help="kvm or tcg; by default KVM if it really works, else emulation.")]


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
        self._progress.console.print(f"[dim]{elapsed:6.1f} s[/dim]  {escape(text)}", soft_wrap=True, highlight=False)


@contextmanager
def showing() -> Iterator[LiveShow]:
    """Draw progress on standard error for the time of the block."""
    title, detail = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[detail]}", markup=False)
    columns = (SpinnerColumn(), title, BarColumn(bar_width=30), TimeElapsedColumn(), detail)
    with Progress(*columns, console=err(), transient=True) as progress:
        yield LiveShow(progress)


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM end the lab in the same order as Ctrl-C does."""

    def ended(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, ended)) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
