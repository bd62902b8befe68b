"""`ramshare lab paper`: the paper's figures 2 and 3, with their tables and charts."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ramshare.cli.output import note, out
from ramshare.messages.state import Mode
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.experiments.paper.charts import block_chart, data_chart
from ramshare_lab.experiments.paper.results import Compared, Paper
from ramshare_lab.experiments.paper.scenario import SECONDS_PER_POINT, PaperPlan, PaperRun
from ramshare_lab.experiments.results import TITLES, save, to_json
from ramshare_lab.load.thrash_lines import Pattern
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing


def paper(
    name: Name = "paper",
    results: Results = Path("results"),
    mode: Annotated[Mode, typer.Option(help="How to attach the remote memory.")] = Mode.MOVE,
    seconds: Annotated[
        float, typer.Option(min=1.0, max=600.0, help="Time for each of the 112 points.")
    ] = SECONDS_PER_POINT,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/paper.json instead of the table.")] = False,
) -> None:
    """Measure the paper's figures 2 and 3, scaled to the lab, and draw them (about 12 minutes).

    Interrupted, it still writes and draws the points that were measured both on the local disk and on remote memory.
    """
    plan = PaperPlan(mode=mode, seconds_per_point=seconds)
    with interruptible(), showing() as show:
        run: PaperRun | None = None
        try:
            with Lab(plan.lab(name, accel), show.stage) as lab:
                run = PaperRun(lab, plan, show)
                run.run()
        finally:
            measured = run.paper() if run else None
            written = write_paper(measured, results) if measured else []
            told = f"written: {', '.join(map(str, written))}" if written else "no point was measured in both places"
            note(told)
    assert measured is not None
    if as_json:
        typer.echo(to_json(measured), nl=False)
    else:
        out().print(paper_table(measured, "Figure 2: ratio by block size", measured.figure2))
        out().print(paper_table(measured, "Figure 3: ratio by data size", measured.figure3))


def write_paper(measured: Paper, results: Path) -> list[Path]:
    """Write what there is: the JSON, and a chart for each figure that has a point. Return the files."""
    if not (measured.figure2 or measured.figure3):
        return []
    save(measured, results / "paper.json")
    written = [results / "paper.json"]
    if measured.figure2:
        written.append(block_chart(measured, results / "figure2.png"))
    if measured.figure3:
        written.append(data_chart(measured, results / "figure3.png"))
    return written


def paper_table(measured: Paper, title: str, points: list[Compared]) -> Table:
    """Return one figure's ratios, remote / local disk, a row a point."""
    pages = "no page lost or mixed up" if measured.bad_pages == 0 else f"{measured.bad_pages} BAD PAGES"
    grid = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption=f"Remote ({measured.mode}) / local disk; usable RAM {measured.usable_ram_bytes / 1e6:.0f} MB; {pages}",
        caption_justify="left",
    )
    for heading in ("data, MB", "block, bytes", *(TITLES[pattern] for pattern in Pattern)):
        grid.add_column(heading, justify="right")
    for point in points:
        ratios = [f"{point.ratio.of(pattern):.1f}×" for pattern in Pattern]
        grid.add_row(f"{point.data_size_bytes / 1e6:.0f}", str(point.block_size_bytes), *ratios)
    return grid
