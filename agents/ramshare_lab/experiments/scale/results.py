"""The results of a run: model, and the table that README shows."""

from rich.table import Table

from ramshare_lab.experiments.results import Model
from ramshare_lab.experiments.scale.judge import growth

LIMITS = (
    "Simulated hosts share connections (thousands over one) and have no memory, targets or volumes behind them; a "
    "grant crosses the broker four times, the round trip beside it twice. CPU is of one core; "
    "all processes share {cores}."
)


class Load(Model):
    """Borrowers asking at a rate, evenly spaced."""

    rate: float
    asked: int
    granted: int
    busy: int
    """Told to come again."""
    refused: int
    """For any other reason, or not answered in time."""
    p50_ms: float | None
    p99_ms: float | None
    manager_cpu: float
    manager_ms_per_request: float
    """CPU of the manager beyond what it takes at rest."""
    manager_waited: float
    """Share of the time that its threads could have run and had no core: time of other processes, in its answers."""
    broker_cpu: float


class Figures(Model):
    """A cluster of one size."""

    hosts: int
    borrowers: int
    guests: int
    guests_interval_s: float
    published_s: float
    """Until every simulated agent had said all it says, and the broker had taken it."""
    ready_s: float
    """From the manager's start (Python's included) until it serves."""
    known: int
    """Lenders known then."""
    all_known_s: float | None
    manager_cpu: float
    """At rest: heartbeats of all, no request."""
    manager_bytes: int
    broker_cpu: float
    broker_bytes: int
    reports_per_s: float
    """Guests' reports that reached their lenders."""
    round_trip_p50_ms: float
    round_trip_p99_ms: float
    """A request and its reply between two plain clients, at rest."""
    status_s: float
    """`ramshare status`, Python's start included."""
    loads: list[Load]
    serving_again_s: float | None
    """After the broker was killed and is back: until the first loan is granted."""
    lent_twice: list[str]
    dropped: int
    """Messages that the broker says it has dropped."""

    def at(self, rate: float) -> Load | None:
        """Return the load of a rate."""
        return next((load for load in self.loads if load.rate == rate), None)


class Scale(Model):
    """`results/scale.json`."""

    cores: int
    sizes: list[Figures]
    growth_rate: float
    """Requests a second at which the growth is taken."""
    growth_cpu: float | None
    """The manager's CPU for a request in the largest cluster, as a multiple of that in the smallest."""
    growth_p50: float | None
    """The same of the time that a grant takes."""


def scale(cores: int, sizes: list[Figures], rate: float) -> Scale:
    """Return the results of one run."""
    small, large = sizes[0].at(rate), sizes[-1].at(rate)
    comparable = small is not None and large is not None and len(sizes) > 1
    return Scale(
        cores=cores,
        sizes=sizes,
        growth_rate=rate,
        growth_cpu=growth(large.manager_ms_per_request, small.manager_ms_per_request)
        if comparable and small and large
        else None,
        growth_p50=growth(large.p50_ms, small.p50_ms) if comparable and small and large else None,
    )


def table(found: Scale) -> Table:
    """Return the figures, a column for each size."""
    shown = Table(title="A cluster of a size: real broker, real manager, simulated hosts", title_justify="left")
    shown.add_column("hosts")
    for size in found.sizes:
        shown.add_column(f"{size.hosts:,}", justify="right")

    def row(title: str, cells: list[str]) -> None:
        shown.add_row(title, *cells)

    sizes = found.sizes
    row("borrowers, guests", [f"{s.borrowers:,}, {s.guests:,}" for s in sizes])
    row("ready, lenders known then", [f"{s.ready_s:.1f} s, {_all(s.known, s.hosts)}" for s in sizes])
    row("all known", [f"{s.all_known_s:.1f} s" if s.all_known_s is not None else "no" for s in sizes])
    for load in sizes[-1].loads:
        loads = [s.at(load.rate) for s in sizes]
        row(f"granted at {load.rate:g}/s: p50, p99", [_times(one) for one in loads])
        row("  granted of asked, busy", [f"{x.granted} of {x.asked}, {x.busy}" if x else "-" for x in loads])
        row(
            "  manager's CPU, for each request",
            [f"{x.manager_cpu:.0%}, {_beyond_rest(x)}" if x else "-" for x in loads],
        )
        row("  manager waited for a core", [f"{x.manager_waited:.0%}" if x else "-" for x in loads])
        row("  broker's CPU", [f"{x.broker_cpu:.0%}" if x else "-" for x in loads])
    row("round trip without us: p50, p99", [f"{s.round_trip_p50_ms:.1f}, {s.round_trip_p99_ms:.1f} ms" for s in sizes])
    row("manager at rest", [f"{s.manager_cpu:.0%}, {s.manager_bytes / 1e6:.0f} MB" for s in sizes])
    row("broker at rest", [f"{s.broker_cpu:.0%}, {s.broker_bytes / 1e6:.0f} MB" for s in sizes])
    row("ramshare status", [f"{s.status_s:.1f} s" for s in sizes])
    row("guests' reports to lenders", [f"{s.reports_per_s:,.0f}/s" for s in sizes])
    row("serving again after a broker's death", [_seconds(s.serving_again_s) for s in sizes])
    row("lent twice, dropped", [f"{len(s.lent_twice)}, {s.dropped}" for s in sizes])
    return shown


def sentences(found: Scale) -> list[str]:
    """Return what is to be read below the table."""
    told = [LIMITS.format(cores="one core" if found.cores == 1 else f"{found.cores} cores")]
    if found.growth_cpu is not None and found.growth_p50 is not None:
        small, large = found.sizes[0].hosts, found.sizes[-1].hosts
        told.append(
            f"Time per request at {large:,} hosts against {small:,}, at {found.growth_rate:g}/s: manager's CPU "
            f"{found.growth_cpu:.2f} times, median grant {found.growth_p50:.2f} times."
        )
    return told + [sentence for size in found.sizes for sentence in size.lent_twice]


def _times(load: Load | None) -> str:
    if load is None or load.p50_ms is None or load.p99_ms is None:
        return "no answer"
    return f"{load.p50_ms:.0f}, {load.p99_ms:.0f} ms"


def _beyond_rest(load: Load) -> str:
    """A few requests are lost in what the manager does at rest."""
    return f"{load.manager_ms_per_request:.1f} ms" if load.manager_ms_per_request > 0 else "too few to tell"


def _all(known: int, hosts: int) -> str:
    return "all" if known >= hosts else f"{known:,}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
