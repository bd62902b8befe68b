"""`ramshare lab evaluate`: what lending makes of a whole cluster, replayed from recorded memory use."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ramshare.cli.output import err

if TYPE_CHECKING:
    from ramshare_lab.experiments.evaluate.play import Outcome
    from ramshare_lab.experiments.evaluate.scene import Scene

EVALUATE_EXAMPLE = "Example: ramshare lab evaluate trace.parquet --hosts 1000 --hours 24"


def evaluate(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="Parquet: host, vm, timestamp, capacity, used.")],
    hosts: Annotated[int, typer.Option(min=2, max=20_000, help="Simulated hosts.")] = 1000,
    hours: Annotated[float, typer.Option(min=0.5, max=1000, help="Virtual time that is judged.")] = 24.0,
    warmup_h: Annotated[float, typer.Option("--warmup-h", min=0.0, help="Hours shown to the policies first.")] = 24.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same cluster and the same figures.")] = 1,
    in_use: Annotated[
        float, typer.Option(min=0.05, max=0.95, help="Share of the cluster's memory in use without lending.")
    ] = 0.408,
    results: Annotated[Path, typer.Option(metavar="DIR", help="Where evaluate.json and .png go.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Replay a cluster from a trace: ours, no lending, live migration, Infiniswap's and Memtrade's rules.

    Virtual time; the surplus policy and the placement are the shipped ones. Needs no root.
    """
    from ramshare_lab.experiments import results as writing
    from ramshare_lab.experiments.evaluate import report
    from ramshare_lab.experiments.evaluate.scene import make_scene
    from ramshare_lab.policies.trace import read_trace

    started_s = time.monotonic()
    scene = make_scene(
        read_trace(trace),
        hosts=hosts,
        hours=hours,
        warmup_hours=warmup_h,
        seed=seed,
        in_use=in_use,
    )
    found = report.evaluation(trace.stem, seed, scene, _outcomes(scene, seed), time.monotonic() - started_s)
    writing.save(found, results / "evaluate.json")
    drawn = report.draw(found, results / "evaluate.png")
    writing.tell(found, [results / "evaluate.json", drawn], report.table(found), as_json=as_json)


def _outcomes(scene: "Scene", seed: int) -> "list[Outcome]":
    import numpy as np

    from ramshare_lab.experiments.evaluate.migrate import migrate, stay
    from ramshare_lab.experiments.evaluate.play import play
    from ramshare_lab.experiments.evaluate.rules import rules

    found = [stay(scene), migrate(scene)]
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=err(), transient=True) as progress:
        for rule in rules(np.random.default_rng(seed)):
            task = progress.add_task(rule.name, total=scene.steps)
            found.append(play(scene, rule, lambda task=task: progress.advance(task)))  # type: ignore[misc]
    return found
