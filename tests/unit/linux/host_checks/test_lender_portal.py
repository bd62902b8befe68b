"""What a lender's address, its port and a target that runs already look like before the lender is started."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.host_checks.lender_portal import judge, observe
from ramshare.linux.host_checks.model import Host

pytestmark = pytest.mark.unit

SHOW = ("tgtadm", "-C", "7", "--lld", "iscsi", "--op", "show", "--mode", "portal")


@pytest.fixture
def taken_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port of this host that a program listens at, and that a lender is told to use."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        about = {"ENV_FILE": "/nonexistent", "LENDER_ADDRESS": "127.0.0.1", "LENDER_PORT": port}
        for name, value in {**about, "LENDER_CONTROL_PORT": 7}.items():
            monkeypatch.setenv(f"RAMSHARE_{name}", str(value))
        yield port


def test_a_port_that_another_program_has_stops_the_lender(taken_port: int, tmp_path: Path) -> None:
    (found,) = judge(observe(Host(FakeRunner().on(*SHOW, returncode=107), tmp_path)))
    assert found.blocks
    assert f"another program listens at 127.0.0.1:{taken_port}" in found.what


def test_a_port_that_the_lenders_own_target_has_does_not(taken_port: int, tmp_path: Path) -> None:
    runner = FakeRunner().on(*SHOW, stdout=f"Portal: 127.0.0.1:{taken_port},1\n")
    assert [found.blocks for found in judge(observe(Host(runner, tmp_path)))] == [False]


def test_a_target_that_listens_everywhere_does(taken_port: int, tmp_path: Path) -> None:
    runner = FakeRunner().on(*SHOW, stdout="Portal: [::]:3260,1\nPortal: 0.0.0.0:3260,1\n")
    assert [found.blocks for found in judge(observe(Host(runner, tmp_path)))] == [True, False]


def test_an_address_that_is_none_stops_it_before_anything_is_asked(
    taken_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAMSHARE_LENDER_ADDRESS", "10.0.0.0/8")
    (found,) = judge(observe(Host(FakeRunner(), tmp_path)))
    assert found.blocks
    assert str(found) == "RAMSHARE_LENDER_ADDRESS: 10.0.0.0/8 is a network; write the address alone: 10.0.0.0"
