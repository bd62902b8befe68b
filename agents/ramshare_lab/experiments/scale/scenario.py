"""One cluster of a size: a real broker (the hosts' one of the secure set), the real manager, simulated hosts; measured.

What the guests' broker would carry over its bridge comes over one connection here, too. CPU is of one core.
"""

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ramshare.broker.rights import Rights
from ramshare.broker.size import Size
from ramshare.bus.mqtt import MqttBus
from ramshare.linux.run import Runner
from ramshare.messages.requests import Drain
from ramshare.topics import DEFAULT_ROOT, MANAGER, VERSION
from ramshare_lab.cluster.broker import RunningBroker, start_broker
from ramshare_lab.experiments.bus.echo import bare_round_trips
from ramshare_lab.experiments.scale import processes
from ramshare_lab.experiments.scale.hosts import BORROW_TIMEOUT_S, CAPACITY_BYTES, HOLD_S
from ramshare_lab.experiments.scale.judge import Asked, Latency, granted_s, latency, lent_twice
from ramshare_lab.experiments.scale.manager_process import ManagerProcess
from ramshare_lab.experiments.scale.processes import Part, Process
from ramshare_lab.experiments.scale.results import Figures, Load
from ramshare_lab.experiments.scale.usage import Usage, Used, resident_bytes
from ramshare_lab.show import Show

LOOKER, PERSON, ASKER, ANSWERER = "cli.looker", "cli.scale", "cli.yardstick", "lender.yardstick"
LENDERS_A_PROCESS = 2500
READY_WITHIN_S, ALL_KNOWN_WITHIN_S = 180.0, 60.0
SETTLE_S = 3.0
AWAY_S, RESTART_RATE, RESTART_WITHIN_S = 1.0, 2.0, 90.0
"""How long the broker is away, and how often borrowers ask meanwhile."""
FEWEST_BORROWERS = 30
"""A borrower may hold 64 leases at a time: fewer of them would meet their own limit, not the manager's."""
ROUNDS = 200
ALL = f"{DEFAULT_ROOT}/{VERSION}/#"


@dataclass(frozen=True)
class Plan:
    """How large, how long, and how often is asked."""

    hosts: int
    guests_a_host: int = 10
    guests_interval_s: float = 5.0
    rates: tuple[float, ...] = (1.0, 10.0, 100.0)
    seconds: float = 10.0
    restart: bool = True

    @property
    def borrowers(self) -> int:
        """Hosts that borrow; they are other ones than those that lend."""
        return max(FEWEST_BORROWERS, self.hosts // 10)


def measure(runner: Runner, directory: Path, plan: Plan, show: Show) -> Figures:
    """Build a cluster in `directory`, measure it, end it. Raises `ManagerError`, `PartError`, `BrokerStartError`."""
    with ExitStack() as stack:
        lenders = -(-plan.hosts // LENDERS_A_PROCESS)
        carriers = [f"cli.part{number}" for number in range(lenders + 2)]
        everybody = Rights(write=(ALL,), read=(ALL,), subscribe_within=(ALL,))
        accounts = [MANAGER, LOOKER, PERSON, ASKER, ANSWERER, *carriers]
        show.stage(f"{plan.hosts} hosts: everybody publishes")
        size = Size(plan.hosts + plan.borrowers, plan.hosts * plan.guests_a_host)
        made = start_broker(runner, directory / "broker", accounts, everybody=everybody, size=size)
        broker = stack.enter_context(made)
        cluster = _Cluster(stack, runner, broker, plan, carriers)
        person = MqttBus(broker.settings(PERSON), PERSON)
        person.connect()
        stack.callback(person.close)
        show.stage(f"{plan.hosts} hosts: the manager starts")
        manager = ManagerProcess(runner, directory, broker, person)
        stack.callback(manager.end)
        return _figures(plan, broker, cluster, manager, show)


class _Cluster:
    """The processes that simulate it."""

    def __init__(
        self, stack: ExitStack, runner: Runner, broker: RunningBroker, plan: Plan, carriers: list[str]
    ) -> None:
        self._runner, self._broker = runner, broker
        began = time.monotonic()
        hosts = [f"h{number:05}" for number in range(plan.hosts)]

        def start(target: processes.Target, client: str, names: list[str]) -> Process:
            settings = broker.settings(client).model_dump()
            part = Part(settings, client, tuple(names), plan.guests_a_host, guests_interval_s=plan.guests_interval_s)
            process = Process(target, part)
            stack.callback(process.end)
            return process

        self._lenders = [
            start(processes.lenders, client, hosts[number :: len(carriers) - 2])
            for number, client in enumerate(carriers[2:])
        ]
        self._borrowers = start(processes.borrowers, carriers[0], [f"b{n:05}" for n in range(plan.borrowers)])
        self._all = [*self._lenders, self._borrowers]
        if plan.guests_a_host:
            self._all.append(start(processes.guests, carriers[1], hosts))
        for process in self._all:
            process.wait()
        self.published_s = time.monotonic() - began

    def show_status(self) -> None:
        """Run `ramshare status` as a person does."""
        where = ["--broker", f"{self._broker.host}:{self._broker.port}", "--client", LOOKER]
        where += ["--tls", str(self._broker.tls_directory(LOOKER))]
        self._runner.run([sys.executable, "-m", "ramshare.cli.main", *where, "status"], timeout_s=120.0)

    def reports(self) -> int:
        """Return how many reports of guests have reached lenders."""
        return sum(process.tell("count")[0] for process in self._lenders)

    def dropped(self) -> int:
        """Return what the broker says it has dropped."""
        return max(int(process.tell("count")[1]) for process in self._lenders)

    def load(self, rate: float, seconds: float) -> None:
        """Have borrowers begin to ask, so often and so long."""
        self._borrowers.tell("load", rate, seconds)

    def asked(self) -> list[Asked]:
        """Return what they asked since, and what came of it."""
        found: list[Asked] = self._borrowers.tell("asked")
        return found


def _figures(plan: Plan, broker: RunningBroker, cluster: _Cluster, manager: ManagerProcess, show: Show) -> Figures:
    first = manager.serving(1, READY_WITHIN_S)
    ready_s = time.monotonic() - manager.started_s
    known = first if first.lenders >= plan.hosts else manager.serving(plan.hosts, ALL_KNOWN_WITHIN_S, first)
    all_known_s = time.monotonic() - manager.started_s
    time.sleep(SETTLE_S)
    show.stage(f"{plan.hosts} hosts: at rest")
    assert broker.process is not None
    watched = partial(Usage, manager.pid, broker.process.pid)
    resting, reports = watched(), cluster.reports()
    time.sleep(plan.seconds)
    rest = resting.until_now()
    reports_per_s = (cluster.reports() - reports) / rest.seconds
    trips = _round_trips(broker)
    began = time.monotonic()
    cluster.show_status()
    status_s = time.monotonic() - began
    asked: list[Asked] = []
    loads = []
    for rate in plan.rates:
        show.stage(f"{plan.hosts} hosts: {rate:g} requests a second")
        loaded = watched()
        found = _ask(cluster, rate, plan.seconds)
        loads.append(_load(rate, found, loaded.until_now(), rest))
        asked += found
    manager_bytes, broker_bytes = resident_bytes(manager.pid), resident_bytes(broker.process.pid)
    serving_again_s = None
    if plan.restart:
        show.stage(f"{plan.hosts} hosts: the broker is killed and started again")
        serving_again_s, found = _restart(broker, cluster)
        asked += found
    return Figures(
        hosts=plan.hosts,
        borrowers=plan.borrowers,
        guests=plan.hosts * plan.guests_a_host,
        guests_interval_s=plan.guests_interval_s,
        published_s=cluster.published_s,
        ready_s=ready_s,
        known=first.lenders,
        all_known_s=all_known_s if known.lenders >= plan.hosts else None,
        manager_cpu=rest.manager_cpu,
        manager_bytes=manager_bytes,
        broker_cpu=rest.broker_cpu,
        broker_bytes=broker_bytes,
        reports_per_s=reports_per_s,
        status_s=status_s,
        round_trip_p50_ms=trips.p50_ms or 0.0,
        round_trip_p99_ms=trips.p99_ms or 0.0,
        loads=loads,
        serving_again_s=serving_again_s,
        lent_twice=lent_twice(asked, CAPACITY_BYTES),
        dropped=cluster.dropped(),
    )


def _ask(cluster: _Cluster, rate: float, seconds: float) -> list[Asked]:
    """Have borrowers ask, and return what came of it when all have their answer and all is given back."""
    cluster.load(rate, seconds)
    time.sleep(seconds)
    until_s = time.monotonic() + BORROW_TIMEOUT_S + HOLD_S
    found = cluster.asked()
    while not all(one.over for one in found) and time.monotonic() < until_s:
        time.sleep(0.2)
        found = cluster.asked()
    return found


def _load(rate: float, asked: list[Asked], used: Used, at_rest: Used) -> Load:
    times = latency(granted_s(asked))
    refusals = [one.refusal for one in asked if one.refusal]
    return Load(
        rate=rate,
        asked=len(asked),
        granted=sum(one.granted for one in asked),
        busy=refusals.count("busy"),
        refused=len(refusals) - refusals.count("busy"),
        p50_ms=times.p50_ms,
        p99_ms=times.p99_ms,
        manager_cpu=used.manager_cpu,
        manager_ms_per_request=(used.manager_cpu - at_rest.manager_cpu) * used.seconds * 1e3 / len(asked),
        manager_waited=used.manager_waited,
        broker_cpu=used.broker_cpu,
    )


def _restart(broker: RunningBroker, cluster: _Cluster) -> tuple[float | None, list[Asked]]:
    """Kill the broker and start it again while borrowers ask; return when the first was granted something again."""
    cluster.load(RESTART_RATE, RESTART_WITHIN_S)
    time.sleep(1.0)
    broker.kill()
    time.sleep(AWAY_S)
    broker.start()
    since_s = time.monotonic()
    while time.monotonic() < since_s + RESTART_WITHIN_S:
        found = cluster.asked()
        again = [one.answered_s for one in found if one.granted and one.answered_s and one.answered_s > since_s]
        if again:
            return min(again) - since_s, found
        time.sleep(0.1)
    return None, cluster.asked()


def _round_trips(broker: RunningBroker) -> Latency:
    """Return what a request and its reply cost without anything of ours."""
    asking, answering = broker.settings(ASKER), broker.settings(ANSWERER)
    return latency(bare_round_trips(asking, answering, Drain().to_json(), ROUNDS, nodelay=True))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
