"""`ramshare lab scale`: what the manager and the broker take as the cluster grows."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ramshare_lab.options import Results, interruptible
from ramshare_lab.show import showing

SCALE_EXAMPLE = "Example: ramshare lab scale --hosts 1000 --guests 10"
GROWTH_RATE = 10.0


def scale(
    hosts: Annotated[
        int, typer.Option(min=10, max=20_000, help="Simulated hosts that lend; a tenth more borrow.")
    ] = 300,
    guests: Annotated[int, typer.Option(min=0, max=50, help="Guests on each host.")] = 10,
    guests_interval_s: Annotated[
        float, typer.Option("--guests-interval", min=0.5, max=3600, help="Seconds between two reports of a guest.")
    ] = 5.0,
    rate: Annotated[
        list[float] | None, typer.Option(min=0.1, max=1000, help="Requests a second; give it again for more.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Of each measurement.")] = 10.0,
    compare: Annotated[bool, typer.Option(help="Measure a tenth of the hosts, too: what grows?")] = True,
    restart: Annotated[bool, typer.Option(help="Kill the broker and start it again, too.")] = True,
    results: Results = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure a real broker and the real manager before a simulated cluster: start, grants, CPU, memory, a restart.

    Needs Mosquitto and no root. It says what it cannot simulate. Ctrl-C ends everything.
    """
    from ramshare.linux.run import SystemRunner, require_tools
    from ramshare_lab.experiments import results as writing
    from ramshare_lab.experiments.scale import results as told
    from ramshare_lab.experiments.scale.scenario import Plan, cores, measure

    require_tools(["mosquitto", "setpriv"])
    rates = tuple(rate) if rate else (1.0, GROWTH_RATE, 100.0)
    sizes = [hosts // 10, hosts] if compare and hosts >= 100 else [hosts]
    found = []
    with interruptible(), showing() as show:
        for size in sizes:
            plan = Plan(size, guests, guests_interval_s, rates, seconds, restart and size == hosts)
            with tempfile.TemporaryDirectory(prefix="ramshare-scale-") as directory:
                found.append(measure(SystemRunner(), Path(directory), plan, show))
    report = told.scale(cores(), found, GROWTH_RATE if GROWTH_RATE in rates else rates[0])
    writing.save(report, results / "scale.json")
    writing.tell(report, [results / "scale.json"], told.table(report), *told.sentences(report), as_json=as_json)
