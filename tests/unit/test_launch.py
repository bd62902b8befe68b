import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.cli_world import isolate
from kit.memory_bus import MemoryBroker, MemoryBus
from ramshare import launch as agent
from ramshare.agent import Agent
from ramshare.broker import keeper
from ramshare.broker.cluster import Cluster
from ramshare.broker.store import Store
from ramshare.doctor import Patient
from ramshare.errors import ExitCode, MissingPartError
from ramshare.linux.host_checks.model import Check, Finding
from ramshare.settings import HostSettings, SettingsError, load

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setenv("RAMSHARE_HOST", "hosta")
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


@pytest.mark.parametrize(
    ("role", "client"),
    [
        ("monitor", "guest.hosta"),
        ("lender", "lender.hosta"),
        ("manager", "manager"),
        ("borrower", "borrower.hosta"),
    ],
)
def test_each_role_has_its_clients_name(role: str, client: str) -> None:
    assert agent.broker_settings(role, "hosta").client == client


def test_of_several_managers_its_certificate_says_which_one_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = Store(tmp_path / "broker", durable=False)
    keeper.init(store, Cluster(accounts=("manager.hosta", "manager.hostb")), datetime.now(UTC))
    for host in ("hosta", "hostb"):
        monkeypatch.setenv("RAMSHARE_TLS_DIRECTORY", str(store.current / "bundles" / f"manager.{host}" / "tls"))
        found = agent.broker_settings("manager", "any")
        assert found.client == f"manager.{host}"
        assert found.cert_file.name == "manager.crt"


def test_a_name_of_another_role_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMSHARE_CLIENT", "lender.hosta")
    with pytest.raises(SettingsError, match="not a name for a borrower"):
        agent.broker_settings("borrower", "hosta")


@pytest.mark.parametrize("interval", ["0", "0.5", "-1", "nan"])
def test_a_heartbeat_without_pause_is_refused(monkeypatch: pytest.MonkeyPatch, interval: str) -> None:
    monkeypatch.setenv("RAMSHARE_ANNOUNCE_INTERVAL_S", interval)
    with pytest.raises(SettingsError, match="RAMSHARE_ANNOUNCE_INTERVAL_S"):
        agent.broker_settings("manager", "hosta")


def test_check_says_what_would_be_used_and_connects_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.main(["manager", "--check"], patient=patient) == ExitCode.OK
    assert capsys.readouterr().out == "the configuration is valid: manager at 127.0.0.1:8883\n"


def patient(role: str, *found: Finding) -> Patient:
    """A machine on which nothing but that is found, its certificate included."""
    return replace(
        agent.patient_of(role),
        certificate=lambda _: "",
        checks=(Check("it", frozenset({role}), lambda _host: found, list),),
    )


@pytest.mark.parametrize(("blocks", "code"), [(False, ExitCode.OK), (True, ExitCode.FAILED)])
def test_check_says_what_works_against_us_and_fails_if_it_stops_us(
    capsys: pytest.CaptureFixture[str], blocks: bool, code: ExitCode
) -> None:
    found = Finding("this host hides our disks", "edit /etc/lvm/lvm.conf", blocks=blocks)
    assert agent.main(["manager", "--check"], patient=lambda role: patient(role, found)) == code
    level = "error" if blocks else "warning"
    assert capsys.readouterr().err == f"{level}: this host hides our disks; edit /etc/lvm/lvm.conf\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RAMSHARE_BROKER_PORT", "0"),
        ("RAMSHARE_BROKER_HOST", ""),
        ("RAMSHARE_LOG_LEVEL", "LOUD"),
        ("RAMSHARE_PASSWORD_FILE", "/nonexistent/pw"),
        ("RAMSHARE_HOST", "no/host"),
        ("RAMSHARE_HOST", "ends.in.a.dot."),
        ("RAMSHARE_HOST", "h" * 64),
        ("RAMSHARE_CLIENT", "manager.of..all"),
        ("RAMSHARE_CLIENT", "Manager"),
        ("RAMSHARE_CLIENT", "manager."),
        ("RAMSHARE_ROOT", "a/b"),
        ("RAMSHARE_BROKER_HOTS", "10.0.0.1"),
        ("RAMSHARE_ADDRESS", "10.0.0.1"),
        ("Ramshare_Host", "hosta"),
        ("RAMSHAR_BROKER_HOST", "10.0.0.1"),
    ],
)
def test_check_names_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert agent.main(["manager", "--check"], patient=patient) != ExitCode.OK
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert value in told or variable in told


def test_a_misspelt_setting_is_told_with_the_one_that_may_be_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("RAMSHARE_LENDER_LIMIT_BYTE=5\nPYTHONUNBUFFERED=1\nRAMSHARE_LENDER_LIMIT_BYTES=5\n")
    monkeypatch.setenv("RAMSHARE_ENV_FILE", str(tmp_path / "file"))
    assert agent.main(["manager", "--check"], patient=patient) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "RAMSHARE_LENDER_LIMIT_BYTE (did you mean RAMSHARE_LENDER_LIMIT_BYTES?)" in told
    assert "PYTHON" not in told


def test_an_agent_that_starts_with_a_misspelt_setting_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAMSHARE_BROKER_HOTS", "10.0.0.1")
    monkeypatch.setattr(agent, "set_up_logging", lambda _level: None)
    assert agent.main(["manager"], serve=lambda _agent: None) == ExitCode.OK
    assert "RAMSHARE_BROKER_HOTS is no setting" in caplog.text


@pytest.mark.parametrize(
    ("role", "client"),
    [("lender", "lender"), ("lender", "manager"), ("borrower", "borrower.-b"), ("monitor", "monitor.web1")],
)
def test_a_name_that_cannot_be_this_agents_is_refused(monkeypatch: pytest.MonkeyPatch, role: str, client: str) -> None:
    monkeypatch.setenv("RAMSHARE_CLIENT", client)
    with pytest.raises(SettingsError, match="RAMSHARE_CLIENT"):
        agent.broker_settings(role, "hosta")


def test_a_host_with_its_domain_is_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMSHARE_HOST", "hosta.example.org")
    assert agent.broker_settings("lender", load(HostSettings).host).client == "lender.hosta.example.org"


@pytest.mark.parametrize("name", ["x" * 64, "", "-x", "hö"])
def test_a_machines_own_name_is_checked_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("RAMSHARE_HOST")
    monkeypatch.setattr("socket.gethostname", lambda: name)
    with pytest.raises(SettingsError, match="RAMSHARE_HOST"):
        load(HostSettings)


@pytest.mark.parametrize(
    ("role", "variable", "value", "words"),
    [
        ("lender", "RAMSHARE_LENDER_POLICY", "rythm", "no surplus policy named 'rythm'"),
        ("lender", "RAMSHARE_LENDER_DIRECTORY", "run/lender", "RAMSHARE_LENDER_DIRECTORY"),
        ("lender", "RAMSHARE_LENDER_DIRECTORY", "/", "RAMSHARE_LENDER_DIRECTORY"),
        ("lender", "RAMSHARE_LENDER_GUESTS", '["web 1"]', "RAMSHARE_LENDER_GUESTS"),
        ("borrower", "RAMSHARE_BORROWER_DIRECTORY", "~/ramshare", "RAMSHARE_BORROWER_DIRECTORY"),
        ("borrower", "RAMSHARE_BORROWER_DIRECTORY", "", "RAMSHARE_BORROWER_DIRECTORY"),
    ],
)
def test_check_names_what_is_wrong_with_a_role(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    role: str,
    variable: str,
    value: str,
    words: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert agent.main([role, "--check"], patient=patient) == ExitCode.USAGE
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("role", ["lender", "borrower"])
def test_an_agent_that_changes_the_host_needs_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert agent.main([role, "--check"]) == ExitCode.MISSING_PART
    assert f"a {role} needs root" in capsys.readouterr().err


def test_a_missing_tool_is_told_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("ramshare.linux.host_checks.programs.find_tool", lambda _tool: None)
    assert agent.main(["lender", "--check"]) == ExitCode.MISSING_PART
    assert "apt-get install" in capsys.readouterr().err


@pytest.mark.parametrize("args", [[], ["king"], ["monitor", "--frob"], ["lender", "--home"], ["borrower", "--mount"]])
def test_wrong_usage_ends_with_2(args: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        agent.main(args)
    assert ended.value.code == ExitCode.USAGE


@pytest.mark.parametrize("role", ["monitor", "lender", "manager", "borrower"])
def test_every_role_makes_its_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: str) -> None:
    monkeypatch.setenv("RAMSHARE_LENDER_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("RAMSHARE_BORROWER_DIRECTORY", str(tmp_path))
    build: Callable[[MemoryBus], Agent] = agent.builder(role, HostSettings(host="hosta"), lambda *_: None)
    made = build(MemoryBus(MemoryBroker(), agent.broker_settings(role, "hosta").client or ""))
    assert type(made).__name__.lower() == role


def test_main_serves_with_the_configured_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Agent] = []
    monkeypatch.setenv("RAMSHARE_ANNOUNCE_INTERVAL_S", "7")
    assert agent.main(["manager"], served.append) == ExitCode.OK
    assert served[0].heartbeat_s == 7.0
    assert served[0].bus.client == "manager"


def test_an_error_at_the_start_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_agent: Agent) -> None:
        raise MissingPartError("first line\nsecond line")

    assert agent.main(["manager"], fails) == ExitCode.MISSING_PART
    assert capsys.readouterr().err == "error: first line | second line\n"


def _record(message: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("ramshare.x", level, "file", 1, message, None, None)


def test_a_log_record_is_one_line_with_its_time() -> None:
    line = agent.LineFormatter(for_journal=False).format(_record("a\nb"))
    assert line.endswith(" WARNING ramshare.x: a | b")
    assert line[:4].isdigit()


def test_a_traceback_stays_on_the_line_of_its_record() -> None:
    record = _record("went wrong", logging.ERROR)
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = agent.LineFormatter(for_journal=False).format(record)
    assert "\n" not in line
    assert line.endswith("ValueError: why")


@pytest.mark.parametrize(("level", "mark"), [(logging.DEBUG, 7), (logging.INFO, 6), (logging.ERROR, 3)])
def test_the_journal_gets_levels_of_its_own_and_no_time(level: int, mark: int) -> None:
    line = agent.LineFormatter(for_journal=True).format(_record("hello", level))
    assert line == f"<{mark}>ramshare.x: hello"


def test_only_the_journals_own_socket_counts_as_the_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert agent.writes_to_journal(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        assert not agent.writes_to_journal(stream.fileno())
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not agent.writes_to_journal(stream.fileno())


def test_a_monitor_carries_no_command_line_and_no_other_role() -> None:
    code = (
        "import sys, ramshare.launch as a; from ramshare.settings import HostSettings;"
        "a.builder('monitor', HostSettings(host='web1'));"
        "print([m for m in sys.modules if m.split('.')[0] in ('typer', 'rich', 'click', 'numpy', 'matplotlib')"
        " or m.startswith(('ramshare.lender', 'ramshare.borrower', 'ramshare.manager', 'ramshare.cli'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
