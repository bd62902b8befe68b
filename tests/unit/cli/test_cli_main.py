import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from typer.testing import CliRunner

import ramshare
from kit.cli_world import CliWorld, isolate
from ramshare.bus.api import Bus
from ramshare.cli.main import GROUPS, app
from ramshare.cli.options import Outside
from ramshare.errors import ExitCode
from ramshare.settings import KINDS, BrokerSettings, LenderLabSettings, LenderSettings

pytestmark = pytest.mark.unit
COMMANDS = ["run", "borrow", "return", "status", "watch", "listen", "why", "drain", "undrain", "schemas"]


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


def run(*args: str, obj: Any = None) -> Any:
    return CliRunner().invoke(app, list(args), obj=obj)


def test_help_names_every_command_and_every_exit_code() -> None:
    shown = run("--help").stdout
    for name in [*COMMANDS, *GROUPS]:
        assert name in shown
    for code in ExitCode:
        assert f"{int(code)} " in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_with_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Example: ramshare {name}" in result.stdout or f"ramshare {name} " in result.stdout.partition("Example:")[2]


def test_the_help_of_run_lists_every_setting_and_what_it_is_if_nobody_says() -> None:
    shown = run("run", "--help").stdout
    for kind in KINDS:
        for name in kind.model_fields:
            assert kind.PREFIX + name.upper() in shown
    assert "64 by default" in shown


def test_what_only_the_lab_sets_is_no_setting_of_a_host_and_marked_as_the_labs() -> None:
    names = [f"RAMSHARE_LENDER_{name.upper()}" for name in LenderLabSettings.model_fields]
    shown = " ".join(run("run", "--help").stdout.split())
    assert all(name in shown.partition("For the lab")[2] for name in names)
    assert not LenderLabSettings.model_fields.keys() & LenderSettings.model_fields.keys()


def test_help_of_a_group_is_the_groups_own() -> None:
    shown = run("bench", "--help").stdout
    assert "memory" in shown
    assert "install-completion" not in shown


def test_a_group_of_the_lab_says_how_to_get_it_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ramshare.cli.main.ENTRY_POINTS", "nobody.has.any")
    result = run("lab", "demo")
    assert result.exit_code == ExitCode.MISSING_PART
    assert "ramshare lab is part of the lab, which is not installed" in result.stderr
    assert "pip install . ./agents/ramshare_lab" in " ".join(result.stderr.split())


def test_a_group_whose_libraries_are_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_entry_point: object) -> None:
        raise ModuleNotFoundError("No module named 'pyarrow.parquet'", name="pyarrow.parquet")

    monkeypatch.setattr("importlib.metadata.EntryPoint.load", missing)
    result = run("policy", "compare", "x")
    assert result.exit_code == ExitCode.MISSING_PART
    assert "ramshare policy needs the Python package pyarrow" in result.stderr


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"ramshare {ramshare.__version__}\n"


@pytest.mark.parametrize("args", [["frob"], ["status", "--frob"], ["borrow"], ["run", "king"], ["bench", "frob"]])
def test_wrong_usage_ends_with_2(args: list[str]) -> None:
    assert run(*args).exit_code == ExitCode.USAGE


def test_no_broker_is_one_line_a_hint_and_exit_code_3(tmp_path: Path) -> None:
    world = CliWorld()
    world.broker.running = False
    result = world.run("status")
    assert result.exit_code == ExitCode.NO_BROKER
    assert result.stdout == ""
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["error", "try"]


def test_wrong_credentials_end_with_4_and_are_json_when_asked_for() -> None:
    world = CliWorld(accounts=["cli.bob"])
    assert world.run("status").exit_code == ExitCode.NOT_AUTHORISED
    told = world.run_json("status", "--json")["error"]
    assert set(told) == {"exit_code", "code", "message", "hint"}
    assert told["exit_code"] == ExitCode.NOT_AUTHORISED


def test_a_missing_password_file_is_a_wrong_setting() -> None:
    result = run("--insecure", "--password-file", "/nonexistent/pw", "--client", "cli.alice", "status")
    assert result.exit_code == ExitCode.USAGE
    assert "cannot read the password file /nonexistent/pw" in result.stderr


def test_a_password_without_a_word_about_plain_tcp_is_refused() -> None:
    result = run("--password-file", "/nonexistent/pw", "--client", "cli.alice", "status")
    assert result.exit_code == ExitCode.USAGE
    assert "--insecure" in result.stderr


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_wrong_setting_in_the_environment_names_its_variable(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("RAMSHARE_BROKER_PORT", port)
    result = run("status")
    assert result.exit_code == ExitCode.USAGE
    assert "RAMSHARE_BROKER_PORT" in result.stderr


def test_an_unforeseen_error_is_not_swallowed() -> None:
    def broken(_settings: BrokerSettings, _client: str) -> Bus:
        raise ZeroDivisionError

    assert isinstance(run("--client", "cli.alice", "status", obj=Outside(broken)).exception, ZeroDivisionError)


def test_run_replaces_the_process_by_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr("os.execve", lambda *args: started.append(args))
    assert run("--broker", "b:1999", "run", "lender", "--check").exit_code == 0
    program, argv, environment = started[0]
    assert (program, argv[1:]) == (sys.executable, ["-m", "ramshare.launch", "lender", "--check"])
    assert environment["RAMSHARE_BROKER_HOST"] == "b"
    assert environment["RAMSHARE_BROKER_PORT"] == "1999"


def test_schemas_are_written_and_then_up_to_date(tmp_path: Path) -> None:
    target = tmp_path / "schemas"
    assert run("schemas", "--check", str(target)).exit_code == ExitCode.FAILED
    written = json.loads(run("schemas", "--json", str(target)).stdout)["written"]
    assert sorted(path.name for path in target.iterdir()) == written
    assert run("schemas", "--check", str(target)).exit_code == 0
    (target / written[0]).write_text("{}")
    result = run("schemas", "--check", "--json", str(target))
    assert result.exit_code == ExitCode.FAILED
    assert written[0] in result.stderr
    assert json.loads(result.stdout)["error"]["code"] == "stale"


@pytest.mark.parametrize("option", ["--size=0", "--size=-1M", "--size=lots", "--size=9999999T", "--block=0"])
def test_absurd_sizes_of_a_benchmark_are_wrong_usage(option: str) -> None:
    assert run("bench", "memory", option).exit_code == ExitCode.USAGE


def test_a_block_larger_than_the_array_is_wrong_usage() -> None:
    assert run("bench", "memory", "--size=1M", "--block=2M").exit_code == ExitCode.USAGE


def test_completion_offers_commands() -> None:
    command = typer.main.get_command(app)
    assert {"borrow", "return", "lab", "bench"} <= set(command.list_commands(None))  # type: ignore[attr-defined]


def test_the_command_starts_without_the_extras() -> None:
    without = dict.fromkeys(["matplotlib", "pyarrow", "numpy", "libvirt"])
    code = f"import sys; sys.modules.update({without}); import ramshare.cli.main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
