"""A two-node ejabberd cluster as the broker: the node that everybody is at dies in the middle of a borrow.

What ejabberd 23.01 does and does not do here is in `broker-config/README.md`. It is no part of `make setup`.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.broker_worlds import eventually
from kit.world import MIB, FakeLender
from ramshare.agent import REAL
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import RamshareError
from ramshare.linux.run import SystemRunner
from ramshare.manager.agent import Manager
from ramshare.messages.replies import BorrowReply
from ramshare.messages.requests import BorrowMemory
from ramshare.messages.state import Mode, Status
from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.broker import free_port, listening_ports

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
PATIENCE_S = 60.0
"""An Erlang node takes three seconds to start on a machine that has nothing else to do."""

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        shutil.which("ejabberdctl") is None, reason="no ejabberd here: apt-get install ejabberd (and stop its service)"
    ),
]

_CONF = """
hosts: ["ramshare"]
loglevel: warning
auth_method: [anonymous]
anonymous_protocol: login_anon
allow_multiple_connections: true
listen:
  - {{port: {port}, ip: "127.0.0.1", module: mod_mqtt}}
modules:
  mod_mqtt: {{db_type: mnesia, max_queue: 100000, match_retained_limit: infinity, session_expiry: 60}}
"""


class Node:
    """One node of the cluster."""

    def __init__(self, directory: Path, name: str, epmd_port: int) -> None:
        self.name, self.port = f"{name}@localhost", free_port()
        self._own, self._epmd_port = directory / name, epmd_port
        self._own.mkdir()
        (self._own / "ejabberd.yml").write_text(_CONF.format(port=self.port))
        start = ["-mnesia", "dir", f'"{self._own}/spool"', "-s", "ejabberd"]
        self._process: subprocess.Popen[str] = SystemRunner().spawn(
            self._erl(self.name, "-pa", f"{next(LIBRARIES.glob('ejabberd-*/ebin'))}", *start),
            log_path=self._own / "out",
        )
        eventually(lambda: self.port in listening_ports(self._process.pid), PATIENCE_S)

    def _erl(self, name: str, *arguments: str) -> list[str]:
        env = {
            "EJABBERD_CONFIG_PATH": self._own / "ejabberd.yml",
            "EJABBERD_LOG_PATH": self._own / "ejabberd.log",
            "SPOOL_DIR": self._own / "spool",
            "ERL_LIBS": LIBRARIES,
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "HOME": self._own,
        }
        loopback = ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
        settings = [f"{key}={value}" for key, value in env.items()]
        return ["env", *settings, "erl", "-noinput", "-sname", name, "-setcookie", "test", *loopback, *arguments]

    def join(self, other: "Node") -> None:
        call = f"rpc:call('{self.name}', ejabberd_cluster, join, ['{other.name}'])"
        script = f'io:format("~p~n", [{call}]), halt().'
        said = SystemRunner().run(self._erl("control@localhost", "-eval", script), timeout_s=PATIENCE_S).stdout
        assert said.strip() == "ok"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    epmd_port = free_port()
    made: list[Node] = []
    try:
        made += [Node(tmp_path, "one", epmd_port)]
        made += [Node(tmp_path, "two", epmd_port)]
        made[1].join(made[0])
        yield made[0], made[1]
    finally:
        for node in made:
            node.kill()
        epmd = {**os.environ, "ERL_EPMD_PORT": str(epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        subprocess.run(["epmd", "-kill"], env=epmd, check=False, capture_output=True)


def test_a_node_dies_in_the_middle_of_a_borrow_and_the_other_carries_on(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("any")  # without one nobody is let in, not even anonymously
    both = tuple(f"127.0.0.1:{node.port}" for node in nodes)
    second_only, either = (
        BrokerSettings(broker_hosts=hosts, broker_insecure=True, password_file=tmp_path / "password")
        for hosts in (both[1:], both)
    )
    lender = FakeLender(MqttBus(either, "lender.x"), REAL, 400 * MIB)
    other = FakeLender(MqttBus(second_only, "lender.y"), REAL, 400 * MIB)
    manager = Manager(MqttBus(either, "manager"))
    borrower = MqttBus(either, "borrower.b")
    agents = [lender, other, manager]
    for agent in agents:
        agent.bus.connect(PATIENCE_S)
        threading.Thread(target=agent.run, daemon=True).start()
    borrower.connect(PATIENCE_S)
    borrower.set_state("status", Status(status="online"))
    granted: list[BorrowReply] = []

    def borrow(mib: int) -> None:
        need = BorrowMemory(
            volume="vg0/swap", size_bytes=mib * MIB, mode=Mode.MIRROR, initiator="iqn.2026-11.test:b", min_lenders=2
        )

        def served() -> bool:
            try:
                reply = borrower.ask("manager", need, 3.0).result(4.0)
            except RamshareError:
                return False
            granted.extend([reply] if isinstance(reply, BorrowReply) and reply.ok else [])
            return reply.ok

        eventually(served, PATIENCE_S)

    borrow(32)
    assert {grant.lender for grant in granted[-1].grants} == {"lender.x", "lender.y"}, "one is at the other node"
    lender.answers_late = []
    half = threading.Thread(target=borrow, args=(32,))
    half.start()
    eventually(lambda: bool(lender.answers_late), PATIENCE_S)
    nodes[0].kill()
    owed, lender.answers_late = lender.answers_late or [], None
    for answer in owed:
        lender.post(answer)
    half.join(PATIENCE_S)
    assert not half.is_alive()
    leases = [(grant.lender, grant.lease) for reply in granted for grant in reply.grants]
    assert len(leases) == len(set(leases)) == 4
    assert all(one.lent_bytes() <= one.capacity_bytes for one in (lender, other))
    for agent in agents:
        agent.stop()
    for bus in (borrower, *(agent.bus for agent in agents)):
        bus.close()
