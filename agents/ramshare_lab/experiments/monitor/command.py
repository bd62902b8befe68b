"""`ramshare bench monitor`: what a monitor costs its guest, with its table."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption
from ramshare.cli.output import err, out, print_json


def monitor(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=1, max=86_400)] = 300.0,
    interval: Annotated[float, typer.Option(help="Seconds between two reports.", min=0.1, max=600)] = 5.0,
    results: Annotated[Path, typer.Option(help="Directory of the results.")] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Measure what a monitor costs its guest, on a broker of its own; goes into results/surplus.json."""
    from ramshare.linux.run import SystemRunner, require_tools
    from ramshare_lab.experiments.monitor import scenario
    from ramshare_lab.experiments.surplus.results import add

    opts.of(ctx, as_json=as_json)
    require_tools(["mosquitto", "prlimit"])
    with tempfile.TemporaryDirectory(prefix="ramshare-bench-") as directory, err().status("watching a monitor"):
        found = scenario.measure(SystemRunner(), Path(directory), seconds, interval)
    add(results / "surplus.json", found)
    if as_json:
        print_json(found.model_dump(exclude_none=True))
        return
    rss_bytes, share = found.monitor_rss_bytes or 0, found.monitor_cpu_share or 0.0
    table = Table("figure", title=f"A monitor, {found.monitor_reports} reports", title_justify="left")
    for head in ("measured", "target"):
        table.add_column(head, justify="right")
    table.add_row("resident memory, MB", f"{rss_bytes / 1e6:.1f}", f"{scenario.TARGET_RSS_BYTES / 1e6:.0f}")
    table.add_row("share of one core, %", f"{share * 100:.3f}", f"{scenario.TARGET_CPU_SHARE * 100:g}")
    out().print(table)
