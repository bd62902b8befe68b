"""The demo's results as a table for the terminal; the CLI prints it with rich."""

from rich import box
from rich.table import Table

from ramshare_lab.experiments.demo.results import Demo
from ramshare_lab.experiments.results import MODES, TITLES
from ramshare_lab.load.thrash_lines import Pattern

COSTS_AND_PROTECTS = (
    "move: full speed, but a lender that dies takes its pages along; pair: two lenders have every page, one may die; "
    "mirror: writes still reach the local disk, and a dead lender costs seconds and no page."
)
"""The one line about the ways to attach, below the table when all were measured."""


def table(results: Demo) -> Table:
    """Return the terminal's table: four patterns by where the swap lay, in brackets how many times the local disk's."""
    title = (
        f"Swap throughput, MB/s: {results.data_size_bytes / 1e6:.0f} MB of data, "
        f"blocks of {results.block_size_bytes} bytes"
    )
    grid = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, caption=caption(results), caption_justify="left"
    )
    grid.add_column("swap on", no_wrap=True)
    for pattern in Pattern:
        grid.add_column(TITLES[pattern], justify="right")
    rates, speedup = results.throughput_mb_s, results.speedup.measured
    grid.add_row("the local disk", *(f"{rates.local.of(pattern):.3g}" for pattern in Pattern))
    for mode, four in rates.measured.items():
        cells = (f"{four.of(pattern):.3g} ({speedup[mode].of(pattern):.1f}×)" for pattern in Pattern)
        grid.add_row(f"remote memory: {MODES[mode]}", *cells)
    grid.add_row("a RAM disk, no network", *(f"{rates.ceiling.of(pattern):.3g}" for pattern in Pattern))
    return grid


def caption(results: Demo) -> str:
    """Return the sentences below the table: leases, times, pages checked, and what each mode costs and protects."""
    leases = " + ".join(f"{lease.bytes / 1e6:.0f} MB of {lease.lender}" for lease in results.leases)
    times = "; ".join(
        f"{MODES[mode]}: attached in {took.attach_s:.1f} s, home in {took.return_s:.1f} s"
        for mode, took in sorted(results.modes.items(), key=lambda item: list(MODES).index(item[0]))
    )
    pages = "no page lost or mixed up" if results.bad_pages == 0 else f"{results.bad_pages} BAD PAGES"
    found = results.secrets_found
    secrets = (
        f"{len(found)} SECRETS FOUND: {'; '.join(found)}" if found else "no secret in any log, database, process list"
    )
    lines = [
        f"{times}; {pages}; {secrets}. Remote memory: {leases}.",
        f"Raw LUN: {results.raw.random_read_latency_us:.0f} µs per 4 KiB random read, "
        f"{results.raw.sequential_read_mb_s:.0f} MB/s in order. Machine: {results.accel}; local disk "
        f"{results.disk_model.iops} IOPS, {results.disk_model.bytes_per_s / 1e6:.0f} MB/s.",
    ]
    return "\n".join([*lines, COSTS_AND_PROTECTS] if "mirror" in results.modes else lines)
