"""Arguments and options that several commands share, so that they mean and read the same everywhere."""

from typing import Annotated

import typer

VolumeArgument = Annotated[
    str | None,
    typer.Argument(metavar="[VG/LV]", help="The swap volume, as LVM names it; inside a guest none: its own swap."),
]
HostOption = Annotated[str | None, typer.Option(help="Host of the volume; by default this machine.", metavar="HOST")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, with progress.")]
TimeoutOption = Annotated[
    float | None, typer.Option(help="Stop waiting after so many seconds; the work itself goes on.", min=0.1, max=1e6)
]
OneHostOption = Annotated[str | None, typer.Option("--host", help="Show this host or guest only.", metavar="NAME")]
LimitOption = Annotated[
    int, typer.Option(help="Rows of each table, those that need attention first; 0: all.", min=0, max=1_000_000)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of words.")]
