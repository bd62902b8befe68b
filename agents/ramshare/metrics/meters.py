"""What is counted and timed, by name. Names follow Prometheus' conventions: base units, `_total` for what only grows.

A label never holds anything that arrived from elsewhere but what a closed list or a volume's name allows.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from ramshare import __version__

REPLY_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20)
"""A grant takes 20 ms in a cluster of lenders that are free, 4 s where 4 GiB are zeroed, and is given up after 20 s."""
RECLAIM_BUCKETS_S = (0.25, 0.5, 1, 2, 3, 5, 7, 9, 10, 15, 30, 60, 300)
"""Memory is promised to be back within ten seconds; a move takes as long as its pages need."""
STEP_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120)


class Meters:
    """Everything that an agent counts; safe from any thread."""

    def __init__(self, role: str) -> None:
        self.registry = mine = CollectorRegistry()
        ProcessCollector(registry=mine)
        Info("ramshare_agent", "Which agent this is.", registry=mine).info({"role": role, "version": __version__})
        self.connected = Gauge("ramshare_bus_connected", "Whether there is a session with the broker.", registry=mine)
        self.connections = Counter("ramshare_bus_connections", "Sessions begun.", registry=mine)
        self.events = Counter("ramshare_events", "Events told, by kind.", ["kind"], registry=mine)
        self.requests = Counter("ramshare_requests", "Requests answered.", ["verb", "outcome"], registry=mine)
        self.asked = Histogram(
            "ramshare_asked_duration_seconds",
            "Requests of this agent to others, until they were answered or given up.",
            ["verb", "outcome"],
            buckets=REPLY_BUCKETS_S,
            registry=mine,
        )
        self.ended = Counter("ramshare_leases_ended", "Leases that ended.", ["outcome"], registry=mine)
        self.ended_bytes = Counter(
            "ramshare_leases_ended_bytes", "Bytes of leases that ended.", ["outcome"], registry=mine
        )
        self.reclaims: Histogram | None = None
        self.steps: Histogram | None = None
        if role == "lender":
            self.reclaims = Histogram(
                "ramshare_reclaim_duration_seconds",
                "From asking a borrower for a lease until its memory was back.",
                buckets=RECLAIM_BUCKETS_S,
                registry=mine,
            )
        if role == "borrower":
            self.steps = Histogram(
                "ramshare_step_duration_seconds",
                "Looking at a volume, planning one step and applying it.",
                ["step", "outcome"],
                buckets=STEP_BUCKETS_S,
                registry=mine,
            )
