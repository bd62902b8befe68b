"""What docker-compose.yml starts, for real: both brokers, manager and lender in containers serve a borrower's host.

The base image is made by debootstrap instead of fetched. Skipped, loudly, where Docker is not installed.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.containers import TOOLS, Docker, docker, ensure_base
from ramshare.bus.mqtt import MqttBus
from ramshare.linux.run import find_tool
from ramshare.messages.state import Mode, VolumePhase
from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.agents import AgentSpec, VmAgent
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.netns import NETNS_DIR
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.spec import VOLUME, LabSpec, address_of
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.load.thrash import Thrash, command

MISSING = [tool for tool in TOOLS if find_tool(tool) is None]
pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="Docker needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

REPOSITORY = Path(__file__).parents[2]
SWAP_BYTES = 128 * MIB
DATA_BYTES = 160 * MIB
HOST = "hosta"
NO_NETWORK = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
"""All services share the host's network, and so does the build."""
ADDRESS = address_of(HOST)
ENV = {
    "RAMSHARE_ADDRESS": ADDRESS,
    "RAMSHARE_HOSTS": f"{HOST},hostx",
    "RAMSHARE_GUESTS": "web1",
    "RAMSHARE_PEOPLE": "lab",
    "RAMSHARE_OOM_SCORE_ADJ": "0",  # a container may have no CAP_SYS_RESOURCE to give
    "COMPOSE_PROJECT_NAME": "ramshare",
}
COMPOSE = ("docker-compose", "--project-name", "ramshare", "--file", str(REPOSITORY / "docker-compose.yml"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The three images, built in this machine's network."""
    work = tmp_path_factory.mktemp("images")
    services = "".join(
        f"  {name}:\n    build: {{network: host}}\n" for name in ("broker-admin", "hosts-broker", "lender")
    )
    (work / "network.yml").write_text(f"services:\n{services}")
    with docker(work / "docker", options=NO_NETWORK) as here:
        ensure_base(here, work)
        here.run(
            *COMPOSE, "--file", str(work / "network.yml"), "build", "broker-admin", "hosts-broker", "lender", env=ENV
        )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A borrower's host, and a host whose network the containers share; no agents of the lab's own."""
    spec = LabSpec(name="compose", lenders=1, guests=0, agents=False, swap_bytes=SWAP_BYTES)
    with Lab(spec) as running:
        yield running


@pytest.fixture(scope="module")
def composed(images: None, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Everything of docker-compose.yml, up and healthy."""
    inside = ["nsenter", f"--net={NETNS_DIR / lab.network.namespace(HOST)}", "--"]
    with docker(tmp_path_factory.mktemp("running"), inside, NO_NETWORK) as here:
        try:
            here.run(*COMPOSE, "up", "--detach", "--no-build", env=ENV)
            yield here
        finally:
            here.run(*COMPOSE, "down", "--volumes", env=ENV)


@pytest.fixture(scope="module")
def bundles(composed: Docker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles for the other machines, fetched as an administrator would."""
    there = tmp_path_factory.mktemp("bundles")
    fetch = ("run", "--rm", "--volume", f"{there}:/out", "broker-admin", "cp", "-r", "/set/current/bundles", "/out")
    composed.run(*COMPOSE, *fetch, env=ENV)
    return there / "bundles"


def test_every_service_is_healthy(composed: Docker) -> None:
    def states() -> dict[str, str]:
        names = ("hosts-broker", "guests-broker", "manager", "tgtd", "lender")
        ids = {name: composed.run(*COMPOSE, "ps", "-q", name, env=ENV).strip() for name in names}
        return {
            name: composed.run("docker", "inspect", "--format", "{{.State.Health.Status}}", one).strip()
            for name, one in ids.items()
        }

    deadline = time.monotonic() + 120
    while set(found := states()) and set(found.values()) != {"healthy"} and time.monotonic() < deadline:
        time.sleep(1)
    assert set(found.values()) == {"healthy"}, found


def test_each_service_sees_its_own_secrets_only(composed: Docker) -> None:
    def keys(service: str) -> set[str]:
        found = composed.run(*COMPOSE, "exec", "-T", service, "find", "/run/ramshare", "-name", "*.key", env=ENV)
        return {Path(line).name for line in found.split()}

    assert keys("manager") == {"manager.key"}
    assert keys("hosts-broker") == {"server.key"}
    assert not {key for key in keys("lender") if not key.startswith(("lender.hosta", "borrower.hosta"))}


def test_nothing_in_a_container_runs_with_more_than_it_needs(composed: Docker) -> None:
    for service in ("hosts-broker", "guests-broker", "manager"):
        status = composed.run(*COMPOSE, "exec", "-T", service, "cat", "/proc/1/status", env=ENV)
        fields = dict(line.split(":", 1) for line in status.splitlines())
        assert int(fields["Uid"].split()[0]) != 0, service
        assert int(fields["CapEff"], 16) == 0, service
        assert fields["NoNewPrivs"].strip() == "1", service


def test_the_composed_lender_serves_a_borrowers_live_swap(composed: Docker, lab: Lab, bundles: Path) -> None:
    vm = lab.borrower
    shutil.copytree(bundles / "host.hostx" / "tls", vm.spec.persist_dir / "composed", dirs_exist_ok=True)
    ours = lab.agents["borrower.hostx"].spec
    env = {**ours.env, "RAMSHARE_BROKER_HOST": ADDRESS, "RAMSHARE_TLS_DIRECTORY": "/var/lib/ramshare/composed"}
    borrower = VmAgent(AgentSpec(ours.name, ours.role, ours.host, env, ours.module), vm.shell)
    borrower.start()
    person = "cli.lab"
    settings = BrokerSettings(broker_host=ADDRESS, client=person, tls_directory=bundles / person / "tls")
    with Operator(MqttBus(settings, person), "borrower.hostx") as operator:
        operator.wait_ready(SWAP_BYTES)
        with Thrash(vm.shell.open(command(DATA_BYTES))) as thrash:
            thrash.init()
            operator.borrow(VOLUME, Mode.MIRROR)
            operator.follow(VOLUME, VolumePhase.ATTACHED, 180.0)
            (lease,) = operator.leases()
            assert lease.lender == f"lender.{HOST}"
            composed.run(*COMPOSE, "restart", "lender", env=ENV)  # the export stays: tgtd is a service of its own
            assert operator.until(lambda: operator.retained.online(f"lender.{HOST}"), 60)
            operator.send_home(VOLUME)
            operator.follow(VOLUME, VolumePhase.HOME, 180.0)
            checked = thrash.check()
    assert checked.bad_pages == 0
    borrower.stop()
