"""`ramshare doctor`: says for each role whether the machine can do its work, with an exit code for scripts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kit.cli_world import isolate
from kit.fakes import FakeRunner
from ramshare.cli.main import app
from ramshare.cli.options import Outside
from ramshare.doctor import Patient
from ramshare.errors import ExitCode
from ramshare.linux.host_checks.model import Check, Finding, Host
from ramshare.settings import BrokerSettings

pytestmark = pytest.mark.unit

FOUND = {
    "monitor": (Finding("no \x1b[31mpressure", "psi=1"),),
    "lender": (),
    "borrower": (Finding("no lvm", "apt-get install lvm2", blocks=True, exit_code=ExitCode.MISSING_PART),),
}


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


def doctor(tmp_path: Path, *args: str) -> Result:
    def patient(role: str) -> Patient:
        check = Check("it", frozenset({role}), lambda _: FOUND.get(role, ()), list)
        host = Host(FakeRunner(), tmp_path)
        return Patient(role, host, BrokerSettings, lambda _: None, checks=(check,))

    return CliRunner().invoke(app, ["doctor", *args], obj=Outside(patient=patient))


def test_each_role_is_told_with_what_mends_it(tmp_path: Path) -> None:
    done = doctor(tmp_path)
    assert "this machine can lend" in done.stdout
    assert "this machine cannot borrow\n  stops: no lvm\n    mend: apt-get install lvm2" in done.stdout
    assert "warning: no  [31mpressure" in done.stdout, "nobody paints the terminal"


def test_a_machine_that_can_do_anything_is_a_success_and_one_role_is_asked_for_by_name(tmp_path: Path) -> None:
    assert doctor(tmp_path).exit_code == ExitCode.OK
    assert doctor(tmp_path, "--role", "lender").exit_code == ExitCode.OK
    assert doctor(tmp_path, "--role", "borrower").exit_code == ExitCode.MISSING_PART
    assert doctor(tmp_path, "--role", "king").exit_code == ExitCode.USAGE


def test_json_says_the_same(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--role", "borrower", "--json")
    assert done.exit_code == ExitCode.MISSING_PART
    [role] = json.loads(done.stdout)["roles"]
    assert role == {
        "role": "borrower",
        "able": False,
        "exit_code": 6,
        "findings": [{"check": "it", "what": "no lvm", "mend": "apt-get install lvm2", "stops": True}],
    }
