"""The demo's results as a table for the terminal; the CLI prints it with rich."""

from rich import box
from rich.table import Table

from ramshare_lab.experiments.demo.results import Demo
from ramshare_lab.experiments.results import MODES, TITLES, Mode
from ramshare_lab.load.thrash_lines import Pattern

COSTS_AND_PROTECTS = (
    "move: full speed for writes too, but a lender that dies takes its pages along; "
    "mirror: writes still reach the local disk, and a dead lender costs seconds and no page."
)
"""The one line about the two ways to attach, below the table when both were measured."""


def table(results: Demo) -> Table:
    """Return the terminal's table: four patterns by where the swap lay, speed-up and efficiency."""
    rates_by_place = results.throughput_mb_s
    title = (
        f"Swap throughput, MB/s: {results.data_size_bytes / 1e6:.0f} MB of data, "
        f"blocks of {results.block_size_bytes} bytes"
    )
    shown = [mode for mode in MODES if getattr(rates_by_place, mode)]
    grid = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, caption=caption(results), caption_justify="left"
    )
    grid.add_column("access", no_wrap=True)
    remote = [f"remote ({mode})" for mode in shown]
    for heading in ["local disk", *remote, "ceiling", *_pairs(shown)]:
        grid.add_column(heading, justify="right", min_width=max(map(len, heading.split())))
    for pattern in Pattern:
        values = [rates_by_place.local, *(getattr(rates_by_place, mode) for mode in shown), rates_by_place.ceiling]
        cells = [f"{four.of(pattern):.3g}" for four in values]
        for mode in shown:
            cells.append(f"{getattr(results.speedup, mode).of(pattern):.1f}×")
            cells.append(f"{100 * getattr(results.efficiency, mode).of(pattern):.0f} %")
        grid.add_row(TITLES[pattern], *cells)
    return grid


def caption(results: Demo) -> str:
    """Return the sentences below the table: leases, times, pages checked, and what each mode costs and protects."""
    leases = " + ".join(f"{lease.bytes / 1e6:.0f} MB of {lease.lender}" for lease in results.leases)
    times = "; ".join(
        f"{mode}: attached in {took.attach_s:.1f} s, home in {took.return_s:.1f} s"
        for mode, took in results.modes.items()
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


def _pairs(shown: list[Mode]) -> list[str]:
    if shown == ["move"]:
        return ["speed-up", "efficiency"]
    return [f"{heading} ({mode})" for mode in shown for heading in ("speed-up", "efficiency")]
