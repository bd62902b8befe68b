"""What a host needs before its kernel's own target can serve leases."""

import socket
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.host_checks.lender_lio import LioFacts, judge, observe
from ramshare.linux.host_checks.model import Host
from ramshare.linux.lio import MODULES
from ramshare.messages.names import target_of

pytestmark = pytest.mark.unit


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = str(probe.getsockname()[1])
    about = {"LENDER_ADDRESS": "127.0.0.1", "LENDER_PORT": free_port, "LENDER_TARGET": "lio"}
    for name, value in {"ENV_FILE": "/nonexistent", **about}.items():
        monkeypatch.setenv(f"RAMSHARE_{name}", value)
    return monkeypatch


def test_a_kernel_without_lio_stops_the_lender(told: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sys/module/configfs").mkdir(parents=True)
    (found,) = judge(observe(Host(FakeRunner().on("modprobe", "-n", ..., returncode=1), tmp_path)))
    assert found.blocks
    assert all(module in found.what for module in MODULES)
    assert "configfs" not in found.what
    assert "RAMSHARE_LENDER_TARGET=tgt" in found.mend


def test_a_kernel_that_can_load_it_does_not(told: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert judge(observe(Host(FakeRunner().on("modprobe", "-n", ...), tmp_path))) == []


def test_a_lender_by_tgt_needs_none_of_it(told: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told.setenv("RAMSHARE_LENDER_TARGET", "tgt")
    assert observe(Host(FakeRunner(), tmp_path)) == LioFacts()


def test_leases_that_targetcli_saved_are_told(told: pytest.MonkeyPatch, tmp_path: Path) -> None:
    saved = tmp_path / "etc/target/saveconfig.json"
    saved.parent.mkdir(parents=True)
    saved.write_text(f'{{"targets": [{{"wwn": "{target_of("hosta", "l1")}"}}]}}')
    (found,) = judge(observe(Host(FakeRunner().on("modprobe", "-n", ...), tmp_path)))
    assert not found.blocks
    assert "saveconfig.json" in found.mend


def test_an_address_that_another_program_has_stops_it() -> None:
    (found,) = judge(LioFacts(wanted=True, hindrance="another program listens at 10.0.0.1:3260: ss shows which"))
    assert found.blocks
    assert found.mend.startswith("ss shows which; ")
