"""Metrics: what an agent says and does, in Prometheus' words; off unless asked for; and no secret in them."""

import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kit.borrower_scene import Scene
from kit.hands import VOLUME, ModelHost
from kit.memory_bus import MemoryBroker, MemoryBus
from ramshare.agent import Agent
from ramshare.borrower.agent import Borrower
from ramshare.bus.tls import Certificate
from ramshare.contract.examples import EXAMPLES
from ramshare.errors import ExitCode, MissingPartError, RamshareError
from ramshare.launch import main
from ramshare.manager.agent import Manager
from ramshare.messages.state import Export, LeasePhase, Memory, Mode, Offer
from ramshare.metrics.bus import WatchedBus
from ramshare.metrics.exporter import PORTS, CertificateExpiry, Exporter, LoopLag
from ramshare.metrics.off import Unwatched, watcher_for
from ramshare.metrics.states import gauges
from ramshare.metrics.steps import timed
from ramshare.settings import BorrowerSettings, HostSettings, SettingsError

pytestmark = pytest.mark.unit

BOARD = Path(__file__).parents[3] / "docs" / "grafana.json"
ENDS = datetime(2027, 1, 1, tzinfo=UTC)


CERTIFICATE = Certificate("lender.x", "ramshare hosts", ENDS - timedelta(days=365), ENDS, False)


class WatchedMemoryBus(WatchedBus, MemoryBus):
    """The watched bus on the broker inside the process."""


class WatchedScene(Scene):
    """The cluster around a borrower, with every real agent watched."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.exporters: dict[str, Exporter] = {}

    def agents_bus(self, client: str) -> MemoryBus:
        bus = WatchedMemoryBus(self.broker, client)
        exporter = self.exporters[client] = Exporter(client.partition(".")[0], "127.0.0.1:9390")
        exporter.attend(bus)
        return bus

    def borrower(self, **settings: Any) -> Borrower:
        def make(bus: MemoryBus, runtime: Any) -> Borrower:
            self.host = ModelHost(self.model, self.session)
            machine = timed(self.host.machine(self.directory), self.exporters["borrower.b"].step)
            return Borrower(bus, BorrowerSettings(directory=self.directory), machine, runtime)

        return cast("Borrower", self.start(make, "borrower.b"))

    def text(self, client: str) -> str:
        return generate_latest(self.exporters[client].meters.registry).decode()

    def value(self, client: str, name: str, **labels: str) -> float:
        found = self.exporters[client].meters.registry.get_sample_value(name, labels)
        assert found is not None, f"{name} {labels} is not among\n{self.text(client)}"
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WatchedScene]:
    scene = WatchedScene(tmp_path)
    yield scene
    scene.close()


@pytest.fixture
def loan(scene: WatchedScene) -> WatchedScene:
    scene.lender("x", 9)
    scene.ready().borrow()
    return scene


def test_a_loan_shows_on_lender_borrower_and_manager(loan: WatchedScene) -> None:
    assert loan.value("lender.x", "ramshare_lent_bytes", mode="mirror") == 5
    assert loan.value("lender.x", "ramshare_offer_free_bytes") == 4
    assert loan.value("borrower.b", "ramshare_borrowed_bytes", mode="mirror") == 4
    assert loan.value("borrower.b", "ramshare_volume_remote_bytes", volume=VOLUME) == 4
    assert loan.value("borrower.b", "ramshare_leases", mode="mirror", phase="attached") == 1
    assert loan.value("manager", "ramshare_cluster_lent_bytes", mode="mirror") == 5
    assert loan.value("manager", "ramshare_manager_ready") == 1
    assert loan.value("manager", "ramshare_requests_total", verb="borrow", outcome="ok") == 1
    assert loan.value("borrower.b", "ramshare_asked_duration_seconds_count", verb="borrow", outcome="ok") == 1
    assert loan.value("borrower.b", "ramshare_step_duration_seconds_count", step="start_mirror", outcome="ok") == 1


def test_a_loan_that_ended_leaves_no_bytes_and_is_counted(loan: WatchedScene) -> None:
    loan.bring_back()
    assert loan.value("lender.x", "ramshare_lent_bytes", mode="mirror") == 0
    assert loan.value("borrower.b", "ramshare_borrowed_bytes", mode="mirror") == 0
    assert loan.value("borrower.b", "ramshare_leases_ended_total", outcome="returned") == 1
    assert loan.value("borrower.b", "ramshare_leases_ended_bytes_total", outcome="returned") > 0


def test_a_refusal_is_counted_by_its_code(scene: WatchedScene) -> None:
    scene.lender("x", 2)
    scene.ready().borrow()
    assert scene.value("manager", "ramshare_requests_total", verb="borrow", outcome="no-capacity") == 1
    assert scene.value("borrower.b", "ramshare_requests_total", verb="borrow", outcome="no-capacity") == 1


def test_a_reclaim_is_timed_from_asking_until_the_memory_is_back(loan: WatchedScene) -> None:
    (lease,) = loan.lenders["lender.x"].exports
    loan.vacate("lender.x", lease)
    loan.advance(20)
    assert loan.value("lender.x", "ramshare_reclaim_duration_seconds_count") == 1


def test_a_lost_connection_shows(loan: WatchedScene) -> None:
    loan.broker.cut("borrower.b")
    assert loan.value("borrower.b", "ramshare_bus_connected") == 0
    loan.broker.reconnect("borrower.b")
    assert loan.value("borrower.b", "ramshare_bus_connected") == 1
    assert loan.value("borrower.b", "ramshare_bus_connections_total") == 2


def test_what_the_bus_drops_is_counted_by_reason(loan: WatchedScene) -> None:
    loan.broker.publish("borrower.b", "ramshare/v1/request/manager/borrower.b/borrow", b"{not json")
    assert loan.value("manager", "ramshare_bus_dropped_total", reason="malformed") == 1
    assert loan.value("manager", "ramshare_bus_waiting", direction="in") >= 0


def test_the_loops_lag_is_the_age_of_a_probe_that_waits(scene: WatchedScene) -> None:
    class Stuck:
        def __init__(self) -> None:
            self.posted: list[Callable[[], None]] = []

        def post(self, call: Callable[[], None]) -> None:
            self.posted.append(call)

    stuck = Stuck()
    lag = LoopLag(cast("Agent", stuck))

    def seen() -> float:
        (family,) = lag.collect()
        return family.samples[0].value

    assert seen() == 0
    first = seen()
    assert 0 < first <= seen(), "it grows while the probe waits"
    assert len(stuck.posted) == 1, "a scrape does not pile up probes"
    stuck.posted.pop()()
    assert seen() > 0


def test_the_end_of_the_certificate_is_shown_and_nothing_where_there_is_none() -> None:
    (family,) = CertificateExpiry(lambda: CERTIFICATE).collect()
    assert family.samples[0].value == ENDS.timestamp()

    def unreadable() -> Certificate:
        raise RamshareError("cannot read it")

    assert list(CertificateExpiry(unreadable).collect()) == []


def test_no_secret_is_in_any_metric(loan: WatchedScene) -> None:
    loan.bring_back()
    for client in loan.exporters:
        assert "secret-of-" not in loan.text(client)


# ---- names


def _every_name(scene: WatchedScene) -> set[str]:
    names: set[str] = set()
    for client in scene.exporters:
        for family in text_string_to_metric_families(scene.text(client)):
            names |= {sample.name for sample in family.samples}
    monitor = Exporter("monitor", "127.0.0.1:9390").meters.registry
    bus = WatchedMemoryBus(MemoryBroker(), "guest.w")
    bus.watched_by("monitor", Exporter("monitor", "127.0.0.1:9390").meters)
    lag = LoopLag(cast("Agent", object.__new__(Manager)))
    lag._posted_s = 0.0
    families = (*monitor.collect(), *lag.collect(), *CertificateExpiry(lambda: CERTIFICATE).collect())
    samples = [sample.name for family in families for sample in family.samples]
    return names.union(samples)


def test_the_board_asks_for_metrics_that_exist(loan: WatchedScene) -> None:
    loan.vacate("lender.x", *loan.lenders["lender.x"].exports)
    loan.advance(20)
    known = _every_name(loan)
    board = json.loads(BOARD.read_text())
    asked: set[str] = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            asked |= set(re.findall(r"\b(?:ramshare|process)_[a-z_]+", target["expr"]))
    assert len(asked) > 15
    assert asked <= known, f"the board asks for what nobody has: {sorted(asked - known)}"


def test_the_board_filters_by_labels_that_exist(loan: WatchedScene) -> None:
    loan.vacate("lender.x", *loan.lenders["lender.x"].exports)
    loan.advance(20)
    labels: dict[str, set[str]] = {}
    for client in loan.exporters:
        for family in text_string_to_metric_families(loan.text(client)):
            for sample in family.samples:
                labels.setdefault(sample.name, set()).update(sample.labels)
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            for name, filters in re.findall(r"(ramshare_[a-z_]+)\{([^}]*)\}", target["expr"]):
                wanted = {f.partition("=")[0].strip("~ ") for f in filters.split(",")} - {"job", "instance"}
                assert wanted <= labels[name], target["expr"]


def test_names_follow_prometheus_conventions(loan: WatchedScene) -> None:
    for client in loan.exporters:
        for family in loan.exporters[client].meters.registry.collect():
            assert family.name.startswith(("ramshare_", "process_")), family.name
            assert family.documentation
            unit = re.search(r"_(ms|kb|mib|gib|minutes|percent)\b", family.name)
            assert unit is None, f"{family.name} is not in base units"


# ---- what may be published, whatever it is


@given(
    memory=st.builds(
        Memory,
        total_bytes=st.integers(1, 1 << 50),
        available_bytes=st.integers(0, 1 << 50),
        used_bytes=st.integers(0, 1 << 50),
        interval_s=st.just(5.0),
    ),
    mode=st.sampled_from(Mode),
    phase=st.sampled_from(LeasePhase),
    size_bytes=st.integers(1, 1 << 50),
)
def test_any_state_is_shown_and_bytes_are_exact(memory: Memory, mode: Mode, phase: LeasePhase, size_bytes: int) -> None:
    export = EXAMPLES[Export].model_copy(update={"mode": mode, "phase": phase, "size_bytes": size_bytes})
    states = {"memory": memory, "offer": EXAMPLES[Offer], "export/a": export, "export/b": export}
    samples = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in gauges("lender", states)
        for s in family.samples
    }
    assert samples[("ramshare_lent_bytes", (("mode", mode.value),))] == 2 * size_bytes
    assert samples[("ramshare_leases", (("mode", mode.value), ("phase", phase.value)))] == 2
    assert samples[("ramshare_memory_bytes", ())] == memory.total_bytes


# ---- on and off


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_metrics_are_served_where_asked_and_the_port_is_free_afterwards() -> None:
    port = _free_port()
    for _ in range(2):
        with Exporter("manager", f"127.0.0.1:{port}"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            assert 'ramshare_agent_info{role="manager"' in text


def test_a_port_that_is_taken_stops_no_agent(caplog: pytest.LogCaptureFixture) -> None:
    port = _free_port()
    with Exporter("manager", f"127.0.0.1:{port}"), Exporter("manager", f"127.0.0.1:{port}"):
        assert "no metrics: cannot listen on" in caplog.text


def test_agents_on_one_host_take_ports_of_their_own() -> None:
    assert len({Exporter(role, "127.0.0.1:9390").port for role in PORTS}) == len(PORTS)
    assert Exporter("lender", "[::1]:9390").address == "::1"


def test_a_port_beyond_the_last_is_refused() -> None:
    with pytest.raises(SettingsError, match="RAMSHARE_METRICS_LISTEN"):
        Exporter("monitor", "127.0.0.1:65535")


@pytest.mark.parametrize("listen", ["9390", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "http://x:1"])
def test_what_is_no_address_and_port_is_refused_by_name(
    listen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAMSHARE_METRICS_LISTEN", listen)
    assert main(["manager", "--check"]) == ExitCode.USAGE
    assert "RAMSHARE_METRICS_LISTEN" in capsys.readouterr().err


def test_metrics_are_off_unless_asked_for() -> None:
    assert HostSettings(host="a").metrics_listen is None
    assert HostSettings.model_validate({"host": "a", "metrics_listen": ""}).metrics_listen is None
    assert isinstance(watcher_for("lender", None), Unwatched)


def test_an_agent_without_metrics_imports_no_prometheus() -> None:
    code = "import sys, ramshare.launch, ramshare.metrics.steps; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from ramshare.metrics.off import watcher_for\n"
        "from ramshare.errors import MissingPartError\n"
        "try: watcher_for('lender', '127.0.0.1:9390')\n"
        "except MissingPartError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'ramshare[metrics]'" in done.stdout
    assert MissingPartError.exit_code == ExitCode.MISSING_PART
