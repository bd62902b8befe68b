"""`ramshare policy …`: replay a recorded trace through a surplus policy, and compare all policies on one.

Everything numeric is imported when a command runs: it comes with the `policy` extra, and the other commands do without.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ramshare.cli import options as opts
from ramshare.cli.output import err, note, out, print_json
from ramshare.policy.registry import DEFAULT_POLICY, make_policy, policy_names

if TYPE_CHECKING:
    from ramshare_lab.policies.compare import Point
    from ramshare_lab.policies.trace import HostTrace

HOUR_S = 3600.0
REPLAY_EXAMPLE = "Example: ramshare policy replay trace.parquet --out decisions.parquet"
COMPARE_EXAMPLE = "Example: ramshare policy compare trace.parquet --png frontier.png"

TracePath = Annotated[Path, typer.Argument(metavar="TRACE", help="Parquet: host, vm, timestamp, capacity, used.")]
WarmupOption = Annotated[float, typer.Option("--warmup-h", min=0.0, help="Hours shown to the policy, not judged.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
PolicyOption = Annotated[str, typer.Option("--policy", metavar="NAME", help=f"One of: {', '.join(policy_names())}.")]

app = typer.Typer(no_args_is_help=True, help="Replay and compare surplus policies on a recorded trace.")


@app.command(epilog=REPLAY_EXAMPLE)
def replay(
    ctx: typer.Context,
    trace: TracePath,
    out_path: Annotated[Path, typer.Option("--out", metavar="DECISIONS", help="Parquet to write.")],
    policy: PolicyOption = DEFAULT_POLICY,
    warmup_h: WarmupOption = 24.0,
    as_json: JsonOption = False,
) -> None:
    """Stream a trace through the code that runs in a lender; write what it would have lent, and judge it."""
    opts.of(ctx, as_json=as_json)
    chosen = make_policy(policy)
    from ramshare_lab.policies import trace as replaying
    from ramshare_lab.policies.compare import Point
    from ramshare_lab.policies.score import Score, score

    hosts = replaying.read_trace(trace)
    lent_bytes = replaying.replay(hosts, chosen)
    replaying.write_decisions(hosts, lent_bytes, out_path)
    note(f"wrote {sum(len(host.at_s) for host in hosts)} decisions of {len(hosts)} hosts to {out_path}")
    found: Score = score(hosts, lent_bytes, warmup_h * HOUR_S)
    if as_json:
        print_json({"policy": policy, **asdict(found)})
    else:
        out().print(_table([Point(policy, 1.0, found)], hosts))


@app.command(epilog=COMPARE_EXAMPLE)
def compare(
    ctx: typer.Context,
    trace: TracePath,
    png: Annotated[Path | None, typer.Option("--png", metavar="OUT", help="Draw the frontier there.")] = None,
    warmup_h: WarmupOption = 24.0,
    as_json: JsonOption = False,
) -> None:
    """Judge every policy on a trace, and draw what each lends against the harm it does."""
    opts.of(ctx, as_json=as_json)
    from ramshare_lab.policies.compare import CAUTIONS
    from ramshare_lab.policies.compare import compare as judge
    from ramshare_lab.policies.trace import read_trace

    hosts = read_trace(trace)
    cautions = CAUTIONS if png is not None else (1.0,)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err(), transient=True) as progress:
        task = progress.add_task("replaying", total=len(cautions) * len(policy_names()))
        points = judge(
            hosts,
            policy_names(),
            cautions=cautions,
            warmup_s=warmup_h * HOUR_S,
            done=lambda name, caution: progress.update(task, advance=1, description=f"{name} at caution {caution:g}"),
        )
    if png is not None:
        from ramshare_lab.policies.chart import draw

        note(f"drew the frontier into {draw(points, f'Surplus policies on {trace.name}', png)}")
    if as_json:
        print_json({"points": [{"policy": p.policy, "caution": p.caution, **asdict(p.score)} for p in points]})
    else:
        out().print(_table([point for point in points if point.caution == 1.0], hosts))


def _table(points: "list[Point]", hosts: "list[HostTrace]") -> Table:
    steps = points[0].score.host_steps
    table = Table(title=f"{len(hosts)} hosts, {steps} host-steps judged", title_justify="left")
    table.add_column("policy")
    for title in ("lent of oracle", "harm rate", "harm bytes rate", "early rate"):
        table.add_column(title, justify="right")
    for point in points:
        found = point.score
        figures = (f"{found.lent_of_oracle:.4f}", f"{found.harm_rate:.6f}", f"{found.harm_bytes_rate:.6f}")
        table.add_row(point.policy, *figures, f"{found.early_rate:.4f}")
    return table
