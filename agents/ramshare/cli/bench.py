"""`ramshare bench`: measure parts on this machine."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption
from ramshare.cli.output import err, out, parse_size, print_json, size
from ramshare.cli.reclaim import reclaim
from ramshare.cli.surplus import surplus

MEMORY_EXAMPLE = "Example: ramshare bench memory --size 1G --block 1K --seconds 5 --json"
MAX_BLOCK_BYTES = 1 << 30

BUS_EXAMPLE = "Example: ramshare bench bus --rounds 1000"
MONITOR_EXAMPLE = "Example: ramshare bench monitor --seconds 300 --interval 5"

app = typer.Typer(no_args_is_help=True, help="Measure the bus, reclaim, or memory and swap as the paper does.")


@app.command("memory", epilog=MEMORY_EXAMPLE)
def memory(
    ctx: typer.Context,
    size_text: Annotated[str, typer.Option("--size", metavar="SIZE", help="Size of the array.")] = "256M",
    block: Annotated[str, typer.Option(metavar="SIZE", help="Bytes of each access.")] = "4K",
    seconds: Annotated[float, typer.Option(help="Seconds for each pattern.", min=0.1, max=3600)] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Run the paper's microbenchmark here: an array, read and written in order and at random, in MB/s.

    An array larger than the free memory swaps: that is what it is for. Every page carries a checksum.
    """
    opts.of(ctx, as_json=as_json)
    size_bytes, block_bytes = parse_size(size_text), parse_size(block)
    if block_bytes > min(MAX_BLOCK_BYTES, size_bytes):
        raise typer.BadParameter("a block must not be larger than the array", param_hint="--block")
    from ramshare.bench.sweeps import measure_patterns  # late: other commands start faster without it
    from ramshare.bench.thrash import Thrash

    with err().status(f"initialising {size(size_bytes)}") as shown, Thrash.local(size_bytes) as thrash:
        first = thrash.init()
        shown.update("measuring four patterns")
        results = measure_patterns(thrash, block_bytes, seconds)
        last = thrash.check()
    rates = {pattern.value: round(result.mb_s, 3) for pattern, result in results.items()}
    if as_json:
        told = {"data_size_bytes": thrash.size_bytes, "block_size_bytes": block_bytes, "initialise_mb_s": first.mb_s}
        print_json({**told, "throughput_mb_s": rates, "bad_pages": last.bad_pages_total})
        return
    table = Table("access", title=f"{size(thrash.size_bytes)} in blocks of {size(block_bytes)}", title_justify="left")
    table.add_column("MB/s", justify="right")
    for name, mb_s in rates.items():
        table.add_row(name.replace("_", " "), f"{mb_s:.4g}")
    out().print(table, f"{last.bad_pages_total} bad pages.")


@app.command("bus", epilog=BUS_EXAMPLE)
def bus(
    ctx: typer.Context,
    rounds: Annotated[int, typer.Option(help="Requests in each case.", min=10, max=1_000_000)] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Measure a request and its reply at QoS 1, with a broker of its own: what every exchange of agents costs."""
    from ramshare.bench import bus as bench_bus  # late: other commands start faster without it
    from ramshare.linux.run import SystemRunner, require_tools

    opts.of(ctx, as_json=as_json)
    require_tools(["mosquitto", "mosquitto_passwd"])
    with tempfile.TemporaryDirectory(prefix="ramshare-bench-") as directory, err().status("asking and answering"):
        results = bench_bus.measure(SystemRunner(), Path(directory), rounds)
    told = bench_bus.as_json(results)
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


app.command(epilog="Example: ramshare bench reclaim --rounds 10 --mode mirror")(reclaim)
app.command(epilog="Example: ramshare bench surplus --rounds 6")(surplus)


@app.command("monitor", epilog=MONITOR_EXAMPLE)
def monitor(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=1, max=86_400)] = 300.0,
    interval: Annotated[float, typer.Option(help="Seconds between two reports.", min=0.1, max=600)] = 5.0,
    results: Annotated[Path, typer.Option(help="Directory of the results.")] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Measure what a monitor costs its guest, on a broker of its own; goes into results/surplus.json."""
    from ramshare.bench import monitor as bench_monitor  # late: other commands start faster without it
    from ramshare.bench.surplus import add
    from ramshare.linux.run import SystemRunner, require_tools

    opts.of(ctx, as_json=as_json)
    require_tools(["mosquitto", "mosquitto_passwd"])
    with tempfile.TemporaryDirectory(prefix="ramshare-bench-") as directory, err().status("watching a monitor"):
        found = bench_monitor.measure(SystemRunner(), Path(directory), seconds, interval)
    add(results / "surplus.json", found)
    if as_json:
        print_json(found.model_dump(exclude_none=True))
        return
    rss_bytes, share = found.monitor_rss_bytes or 0, found.monitor_cpu_share or 0.0
    table = Table("figure", title=f"A monitor, {found.monitor_reports} reports", title_justify="left")
    for head in ("measured", "target"):
        table.add_column(head, justify="right")
    table.add_row("resident memory, MB", f"{rss_bytes / 1e6:.1f}", f"{bench_monitor.TARGET_RSS_BYTES / 1e6:.0f}")
    table.add_row("share of one core, %", f"{share * 100:.3f}", f"{bench_monitor.TARGET_CPU_SHARE * 100:g}")
    out().print(table)
