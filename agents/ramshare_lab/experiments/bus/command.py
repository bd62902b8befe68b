"""`ramshare bench bus`: what every exchange of agents costs, with its table."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption
from ramshare.cli.output import err, out, print_json


def bus(
    ctx: typer.Context,
    rounds: Annotated[int, typer.Option(help="Requests in each case.", min=10, max=1_000_000)] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Measure a request and its reply at QoS 1, with a broker of its own: what every exchange of agents costs."""
    from ramshare.linux.run import SystemRunner, require_tools
    from ramshare_lab.experiments.bus import scenario

    opts.of(ctx, as_json=as_json)
    require_tools(["mosquitto", "prlimit"])
    with tempfile.TemporaryDirectory(prefix="ramshare-bench-") as directory, err().status("asking and answering"):
        results = scenario.measure(SystemRunner(), Path(directory), rounds)
    told = scenario.as_json(results)
    if as_json:
        print_json(told)
        return
    table = Table("case", title=f"Request round trip, QoS 1, {rounds} rounds, ms", title_justify="left")
    for head in ("p50", "p99", "longest"):
        table.add_column(head, justify="right")
    for row in results:
        table.add_row(row.case, f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.max_ms:.2f}")
    verdict = "met" if told["met"] else "MISSED"
    out().print(table, f"Target: p50 under {told['target_ms']:g} ms: {verdict}.")
