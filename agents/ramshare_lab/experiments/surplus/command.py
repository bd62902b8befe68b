"""`ramshare bench surplus`: what lending a guest's spare memory costs that guest, with its table."""

from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.table import Table

from ramshare.errors import ExitCode
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.experiments.results import tell
from ramshare_lab.experiments.surplus.plan import SurplusPlan
from ramshare_lab.experiments.surplus.results import TARGET_SLOWDOWN, SurplusResults, add
from ramshare_lab.experiments.surplus.scenario import SurplusRun
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing


def surplus(
    name: Name = "surplus",
    results: Results = Path("results"),
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Times that the memory is lent and demanded.")] = 6,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/surplus.json instead of the table.")] = False,
) -> None:
    """Lend what guests under libvirt can spare, and have one demand it suddenly (about 10 minutes; needs root)."""
    plan = SurplusPlan(rounds=rounds)
    with interruptible(), showing() as show, Lab(plan.lab(name, accel), show.stage) as lab:
        measured = SurplusRun(lab, plan, show.note).run()
    merged = add(results / "surplus.json", measured)
    tell(merged, [results / "surplus.json"], surplus_table(measured), as_json=as_json)
    if measured.bad_pages:
        raise typer.Exit(ExitCode.FAILED)


def surplus_table(measured: SurplusResults) -> Table:
    """Return the figures: the median and the worst of the rounds."""
    rounds = measured.rounds or ()
    sizes = [(each or 0) / 1e6 for each in (measured.guest_memory_bytes, measured.demand_bytes, measured.lent_bytes)]
    table = Table(
        "figure",
        title="A guest of {:.0f} MB that suddenly needs {:.0f} MB, while {:.0f} MB are lent".format(*sizes),
        title_justify="left",
        caption=f"{len(rounds)} rounds, {measured.accel}; {measured.bad_pages} bad pages at the borrower",
        caption_justify="left",
    )
    for head in ("median", "worst"):
        table.add_column(head, justify="right")
    seconds = {
        "freed memory offered after, s": [each.freed_to_offer_s for each in rounds],
        "offer falls after, s": [each.offer_falls_s for each in rounds],
        "memory in the guest after, s": [each.demand_to_memory_s for each in rounds],
        "lease back with the lender after, s": [each.lease_back_s for each in rounds],
        "guest fills it in, s": [each.fill_s for each in rounds],
        "the same without lending, s": [each.fill_alone_s for each in rounds],
    }
    for what, figures in seconds.items():
        table.add_row(what, f"{median(figures):.2f}", f"{max(figures):.2f}")
    pages = [each.swapped_pages for each in rounds]
    table.add_row("pages the guest swapped out", f"{median(pages):.0f}", str(max(pages)))
    slower, noise = measured.guest_slowdown or 0.0, measured.guest_slowdown_noise
    verdict = "met" if slower <= TARGET_SLOWDOWN else "MISSED"
    figure = f"{slower * 100:.1f}" + (f" ± {noise * 100:.1f}" if noise is not None else "")
    table.add_row(f"its work is slower by, % (target {TARGET_SLOWDOWN * 100:g}: {verdict})", figure, "")
    return table
