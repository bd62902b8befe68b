"""`ramshare bench memory`: the paper's microbenchmark on this machine."""

from typing import Annotated

import typer
from rich.table import Table

from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption
from ramshare.cli.output import err, out, parse_size, print_json, size

MAX_BLOCK_BYTES = 1 << 30


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
    from ramshare_lab.experiments.sweeps import measure_patterns  # late: other commands start faster without it
    from ramshare_lab.load.thrash import Thrash

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
