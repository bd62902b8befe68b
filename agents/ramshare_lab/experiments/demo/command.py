"""`ramshare lab demo`: the whole system, end to end, measured, with its table and chart."""

from pathlib import Path
from typing import Annotated

import typer

from ramshare_lab.experiments.demo.chart import demo_chart
from ramshare_lab.experiments.demo.scenario import DemoPlan, run_demo
from ramshare_lab.experiments.demo.table import table
from ramshare_lab.experiments.results import save, tell
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing


def demo(
    name: Name = "demo",
    results: Results = Path("results"),
    seconds: Annotated[float, typer.Option(min=1.0, max=600.0, help="Time for each access pattern.")] = 5.0,
    safe: Annotated[bool, typer.Option(help="Also the ways to attach that survive a lender's death.")] = True,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/demo.json instead of the table.")] = False,
) -> None:
    """Lend the memory of two hosts to the live swap of a third and measure what it gains (about 10 minutes)."""
    plan = DemoPlan(seconds=seconds, safe=safe)
    with interruptible(), showing() as show:
        measured = run_demo(plan, name, accel, show)
    save(measured, results / "demo.json")
    chart = demo_chart(measured, results / "demo.png")
    tell(measured, [results / "demo.json", chart], table(measured), as_json=as_json)
