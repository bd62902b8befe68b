from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from kit.fakes import FakeRunner
from ramshare.linux import host_checks
from ramshare.linux.host_checks.model import Check, Finding, Host
from ramshare.linux.host_checks.registry import CHECKS, findings

pytestmark = pytest.mark.unit

HINT = Finding("a hint", "do this")
STOP = Finding("this stops us", "do that", blocks=True)


def _check(*found: Finding, role: str = "borrower") -> Check[tuple[Finding, ...]]:
    return Check("something", frozenset({role}), lambda _host: found, list)


def _unreadable(_host: Host) -> tuple[Finding, ...]:
    raise PermissionError("not for you")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(FakeRunner(), tmp_path)


def test_what_stops_the_agent_is_said_first(host: Host) -> None:
    assert findings("borrower", host, (_check(HINT), _check(STOP))) == [STOP, HINT]


def test_a_check_of_another_role_is_left_out(host: Host) -> None:
    assert findings("lender", host, (_check(STOP),)) == []


def test_a_check_that_cannot_look_says_so_and_stops_nothing(host: Host) -> None:
    check = Check("the SAN", frozenset({"borrower"}), _unreadable, list)
    [found] = findings("borrower", host, (check, _check()))
    assert "the SAN could not be checked: not for you" in str(found)
    assert not found.blocks


def test_every_check_in_the_package_is_made() -> None:
    modules = [import_module(f"{host_checks.__name__}.{found.name}") for found in iter_modules(host_checks.__path__)]
    written = {module.judge for module in modules if hasattr(module, "judge")}
    assert written == {check.judge for check in CHECKS}
