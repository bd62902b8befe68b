"""`ramshare lab scale`: what the manager and the broker take as the cluster grows."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ramshare_lab.options import Results, interruptible
from ramshare_lab.show import showing

SCALE_EXAMPLE = "Example: ramshare lab scale --hosts 1000 --guests 10"
GROWTH_RATE = 10.0
FEWEST = 10


def scale(
    hosts: Annotated[
        list[int] | None,
        typer.Option(min=FEWEST, max=20_000, help="Hosts that lend, 300 by default; again for another size."),
    ] = None,
    guests: Annotated[int, typer.Option(min=0, max=50, help="Guests on each host.")] = 10,
    guests_interval_s: Annotated[
        float, typer.Option("--guests-interval", min=0.5, max=3600, help="Seconds between two reports of a guest.")
    ] = 5.0,
    rate: Annotated[
        list[float] | None, typer.Option(min=0.1, max=1000, help="Requests a second; give it again for more.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Of each measurement.")] = 10.0,
    restart: Annotated[bool, typer.Option(help="Kill the broker and start it again, too.")] = True,
    results: Results = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure a real broker and the real manager before a simulated cluster: start, grants, CPU, memory, a restart.

    One size is compared with a tenth of it. Needs Mosquitto and no root. Ctrl-C ends everything.
    """
    from ramshare.linux.run import SystemRunner, require_tools
    from ramshare_lab.experiments import results as writing
    from ramshare_lab.experiments.scale import results as told
    from ramshare_lab.experiments.scale.scenario import Plan, cores, measure

    require_tools(["mosquitto", "setpriv"])
    rates = tuple(rate) if rate else (1.0, GROWTH_RATE, 100.0)
    sizes = sorted(set(hosts)) if hosts else [300]
    if len(sizes) == 1 and sizes[0] >= 10 * FEWEST:
        sizes.insert(0, sizes[0] // 10)
    found = []
    with interruptible(), showing() as show:
        for size in sizes:
            plan = Plan(size, guests, guests_interval_s, rates, seconds, restart)
            with tempfile.TemporaryDirectory(prefix="ramshare-scale-") as directory:
                found.append(measure(SystemRunner(), Path(directory), plan, show))
            report = told.scale(cores(), found, GROWTH_RATE if GROWTH_RATE in rates else rates[0])
            writing.save(report, results / "scale.json")  # after each size: the next may be too large for this machine
    writing.tell(report, [results / "scale.json"], told.table(report), *told.sentences(report), as_json=as_json)
