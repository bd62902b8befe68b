"""What the long lab commands share: their options, and an orderly end on every signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

Name = Annotated[str, typer.Option(help="Name of the lab; two of different names can run side by side.")]
Results = Annotated[Path, typer.Option(help="Directory for JSON and charts.")]
Accel = Annotated[str, typer.Option(help="kvm or tcg; by default KVM if it really works, else emulation.")]


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
