from collections.abc import Callable
from pathlib import Path

import pytest

from kit.cli_world import isolate
from ramshare.cli.account_lock import AccountInUseError, account_lock
from ramshare.cli.options import Options, operator, parse_broker
from ramshare.cli.output import UsageError
from ramshare.settings import SettingsError
from ramshare.topics import BadTopicError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr("getpass.getuser", lambda: "alice")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.5", ("10.0.0.5", None)),
        ("broker.example:8883", ("broker.example", 8883)),
        ("[fd00::1]:1884", ("fd00::1", 1884)),
    ],
)
def test_a_broker_is_a_host_with_or_without_a_port(text: str, expected: tuple[str, int | None]) -> None:
    assert parse_broker(text) == expected


@pytest.mark.parametrize("text", ["", ":1883", "a:b", "host:0", "host:65536", "host:99999", "a:1:2", "ho st", "x/y"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_broker(text)


def test_a_person_is_cli_and_the_user_name() -> None:
    assert Options().settings().client == "cli.alice"


def test_a_user_name_that_no_topic_can_carry_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "_bob.smith+x")
    assert operator() == "cli.bob-smith-x"


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMSHARE_BROKER_HOST", "elsewhere")
    monkeypatch.setenv("RAMSHARE_CLIENT", "cli.env")
    found = Options(broker="here:1999", client="cli.bob", root="test").settings()
    assert (found.broker_host, found.broker_port, found.client, found.root) == ("here", 1999, "cli.bob", "test")


def test_the_account_of_the_hosts_agent_is_never_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "none.env"
    settings.write_text(
        "RAMSHARE_BROKER_HOST=10.9.9.9\nRAMSHARE_CLIENT=lender.hosta\nRAMSHARE_PASSWORD_FILE=/etc/ramshare/password\n"
    )
    found = Options().settings()
    assert (found.broker_host, found.client, found.password_file) == ("10.9.9.9", "cli.alice", None)


def test_an_agents_name_is_refused_as_an_option() -> None:
    with pytest.raises(UsageError, match="throw the agent out"):
        Options(client="borrower.hostb").settings()


@pytest.mark.parametrize("client", ["Cli.x", "cli.", "cli/x", "cli.#", "c" * 90])
def test_a_client_name_that_no_topic_can_carry_is_refused(client: str) -> None:
    with pytest.raises(UsageError, match="not a client name"):
        Options(client=client).settings()


def test_a_root_with_a_wildcard_is_refused() -> None:
    with pytest.raises(BadTopicError):
        Options(root="a/#").settings()


def test_a_directory_of_accounts_gives_each_client_its_password(tmp_path: Path) -> None:
    (tmp_path / "cli.alice").write_text("secret\n")
    found = Options(insecure=True, password_file=tmp_path).settings()
    assert found.password is not None
    assert found.password.get_secret_value() == "secret"


def test_a_password_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no\.such"):
        _ = Options(insecure=True, password_file=tmp_path / "no.such").settings().password


def test_the_password_in_the_users_home_is_found(tmp_path: Path) -> None:
    home = tmp_path / "config" / "ramshare"
    home.mkdir(parents=True)
    (home / "password").write_text("x")
    assert Options(insecure=True).settings().password_file == home / "password"


def test_a_person_has_the_certificate_in_their_home_and_else_the_machines(tmp_path: Path) -> None:
    assert str(Options().settings().cert_file) == "/etc/ramshare/tls/cli.alice.crt"
    home = tmp_path / "config" / "ramshare" / "tls"
    home.mkdir(parents=True)
    (home / "cli.alice.crt").touch()
    assert Options().settings().cert_file == home / "cli.alice.crt"


def test_an_agent_that_is_started_gets_the_options_as_its_environment() -> None:
    found = Options(broker="b:1999", client="lender.hosta", tls_directory=Path("/t")).environment()
    assert found["RAMSHARE_BROKER_HOST"] == "b"
    assert found["RAMSHARE_BROKER_PORT"] == "1999"
    assert found["RAMSHARE_CLIENT"] == "lender.hosta"
    assert found["RAMSHARE_TLS_DIRECTORY"] == "/t"


def _accounts(tmp_path: Path, *names: str) -> Options:
    directory = tmp_path / "accounts"
    directory.mkdir()
    for name in names:
        (directory / f"{name}.crt").touch()
    return Options(tls_directory=directory)


def test_two_commands_at_once_take_two_accounts_of_the_same_person(tmp_path: Path) -> None:
    options = _accounts(tmp_path, "cli.alice", "cli.alice-watch", "cli.bob", "lender.hosta")
    assert [a.client for a in options.accounts()] == ["cli.alice", "cli.alice-watch"]
    with account_lock(options.accounts()) as first, account_lock(options.accounts()) as second:
        assert (first.client, second.client) == ("cli.alice", "cli.alice-watch")
        assert second.cert_file.name == "cli.alice-watch.crt"
    with account_lock(options.accounts()) as again:
        assert again.client == "cli.alice"


def test_without_a_free_account_the_one_who_holds_it_is_named(tmp_path: Path) -> None:
    options = _accounts(tmp_path, "cli.alice")
    with (
        account_lock(options.accounts()),
        pytest.raises(AccountInUseError, match=r"cli\.alice \(process \d+\)"),
        account_lock(options.accounts(), *waiting(lambda: None)),
    ):
        raise AssertionError("two commands share an account")


def test_a_command_waits_a_little_for_the_one_before_it(tmp_path: Path) -> None:
    options = _accounts(tmp_path, "cli.alice")
    first = account_lock(options.accounts())
    first.__enter__()
    with account_lock(options.accounts(), *waiting(lambda: first.__exit__(None, None, None))) as account:
        assert account.client == "cli.alice"


def waiting(meanwhile: Callable[[], object]) -> tuple[Callable[[], float], Callable[[float], None]]:
    """A clock that only sleeping moves, and a sleep in whose first second something happens."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        if not slept:
            meanwhile()
        slept.append(seconds)

    return lambda: sum(slept), sleep


def test_an_account_given_by_name_is_the_only_one(tmp_path: Path) -> None:
    options = _accounts(tmp_path, "cli.alice", "cli.alice-2")
    options.client = "cli.alice"
    assert [a.client for a in options.accounts()] == ["cli.alice"]
