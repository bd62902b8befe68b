"""Whether a machine can do an agent's work: settings, machine and broker, one list, for `doctor` and `--check`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.cli_world import isolate
from kit.fakes import FakeRunner
from ramshare.bus.api import BrokerUnreachableError, NotAuthorisedError
from ramshare.doctor import Patient, examine, exit_code
from ramshare.errors import ExitCode, RamshareError
from ramshare.linux.host_checks.model import Check, Finding, Host
from ramshare.settings import BrokerSettings, SettingsError

pytestmark = pytest.mark.unit

WARNING = Finding("slow", "buy another")
STOP = Finding("broken", "repair it", blocks=True)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(FakeRunner(), tmp_path)


def settings() -> BrokerSettings:
    return BrokerSettings(client="lender.hosta")


def never(_settings: BrokerSettings) -> None:
    raise AssertionError("nobody is to connect")


def refuse(error: RamshareError) -> Callable[[BrokerSettings], None]:
    def refused(_settings: BrokerSettings) -> None:
        raise error

    return refused


def patient(
    host: Host,
    *found: Finding,
    account: Callable[[BrokerSettings], None] = lambda _: None,
    load: Callable[[], BrokerSettings] = settings,
    certificate: Callable[[BrokerSettings], str] = lambda _: "",
) -> Patient:
    check = Check("it", frozenset({"lender"}), lambda _: found, list)
    return Patient("lender", host, load, account, certificate, (check,))


def test_a_machine_on_which_nothing_is_found_is_able(host: Host) -> None:
    assert examine(patient(host)) == []
    assert exit_code([]) is ExitCode.OK


def test_a_warning_stops_nobody_and_what_stops_comes_first(host: Host) -> None:
    found = examine(patient(host, WARNING, STOP))
    assert found == [STOP, WARNING]
    assert exit_code(found) is ExitCode.FAILED
    assert exit_code([WARNING]) is ExitCode.OK


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerUnreachableError("nobody there", "start it"), ExitCode.NO_BROKER),
        (NotAuthorisedError("not you", "get an account"), ExitCode.NOT_AUTHORISED),
    ],
)
def test_a_broker_that_is_away_or_refuses_stops_the_agent(host: Host, error: RamshareError, code: ExitCode) -> None:
    found = examine(patient(host, account=refuse(error)))
    assert [(f.what, f.mend, f.check) for f in found] == [(error.message, error.hint, "the broker")]
    assert exit_code(found) is code


def test_a_check_leaves_the_broker_alone(host: Host) -> None:
    assert examine(patient(host, account=never), broker=False) == []


def test_settings_that_cannot_be_used_are_said_with_all_else_and_nobody_connects_by_them(host: Host) -> None:
    def broken() -> BrokerSettings:
        raise SettingsError("RAMSHARE_PORT: 'x'", "look into the environment")

    found = examine(patient(host, WARNING, load=broken, account=never))
    assert [f.what for f in found] == ["RAMSHARE_PORT: 'x'", "slow"]
    assert exit_code(found) is ExitCode.USAGE


def test_a_variable_that_is_no_setting_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMSHARE_BROKER_HOTS", "10.0.0.5")
    [found] = examine(patient(host))
    assert "did you mean RAMSHARE_BROKER_HOST" in found.what
    assert found.exit_code is ExitCode.USAGE


def test_a_certificate_that_expires_soon_is_warned_of_with_what_renews_it(host: Host) -> None:
    found = examine(patient(host, certificate=lambda _: "it expires in 3 days"), broker=False)
    assert [(f.what, f.blocks) for f in found] == [("it expires in 3 days", False)]
    assert "ramshare broker renew lender.hosta" in found[0].mend


def test_nobody_connects_with_a_certificate_that_cannot_be_right(host: Host) -> None:
    def expired(_settings: BrokerSettings) -> str:
        raise NotAuthorisedError("it has expired", "renew it")

    found = examine(patient(host, certificate=expired, account=never))
    assert [(f.what, f.check) for f in found] == [("it has expired", "the certificate")]
    assert exit_code(found) is ExitCode.NOT_AUTHORISED


# An agent that runs: a connection under its name would throw it out


def run(host: Host, *words: str) -> None:
    place = host.root / "proc/4711"
    place.mkdir(parents=True, exist_ok=True)
    (place / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")


RUNS = [
    ("/opt/pipx/venvs/ramshare/bin/python", "/usr/local/bin/ramshare-agent", "lender"),
    ("python3", "-m", "ramshare.launch", "lender"),
]


@pytest.mark.parametrize("words", RUNS)
@pytest.mark.parametrize(
    "said", ["ActiveState=active\nStatusText=online: requests are heard\n", "ActiveState=inactive\n"]
)
def test_an_agent_that_runs_is_asked_and_not_thrown_out(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    runner = FakeRunner().on("systemctl", "show", ..., stdout=said)
    host = Host(runner, tmp_path)
    run(host, *words)
    assert examine(patient(host, account=never)) == []


@pytest.mark.parametrize("status", ["", "disconnected from the broker: the connection broke; trying again"])
def test_an_agent_that_runs_without_its_broker_is_not_well(status: str, tmp_path: Path) -> None:
    runner = FakeRunner().on("systemctl", "show", ..., stdout=f"ActiveState=activating\nStatusText={status}\n")
    host = Host(runner, tmp_path)
    run(host, *RUNS[0])
    found = examine(patient(host, account=never))
    assert found[0].what.startswith("the lender runs and is not online")
    assert "journalctl -u ramshare-lender.service" in found[0].mend
    assert exit_code(found) is ExitCode.NO_BROKER


@pytest.mark.parametrize(
    "words",
    [
        ("/usr/local/bin/ramshare-agent", "borrower"),
        ("/usr/local/bin/ramshare-agent", "lender", "--check"),
        ("/usr/local/bin/ramshare", "doctor", "--role", "lender"),
        ("vi", "ramshare-agent", "notes"),
        ("lender",),
        ("",),
    ],
)
def test_another_program_is_no_such_agent(host: Host, words: tuple[str, ...]) -> None:
    run(host, *words)
    asked: list[str] = []
    examine(patient(host, account=lambda broker: asked.append(str(broker.client))))
    assert asked == ["lender.hosta"]
