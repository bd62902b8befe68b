"""The monitor's socket, by which a guest's administrator asks the host, with the real command at the other end."""

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ramshare.bus.api import NotAuthorisedError, RequestTimeoutError
from ramshare.cli.main import app
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import BorrowOwnSwap, BorrowVolume, Request, ReturnOwnSwap
from ramshare.monitor.door import MAX_LINE_BYTES, NO_HOST, OLD_BROKER, SocketDoor, answer

pytestmark = pytest.mark.unit


class FakeHost:
    """Answers what the monitor asks on the bus."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Request]] = []
        self.outcome: Callable[[Request], Reply] = lambda request: Reply(
            request_id=request.request_id, sentence="your swap goes to remote memory, by mirror"
        )

    def ask(self, server: str, request: Request, _timeout_s: float) -> "Future[Reply]":
        self.asked.append((server, request))
        future: Future[Reply] = Future()
        try:
            future.set_result(self.outcome(request))
        except Exception as error:
            future.set_exception(error)
        return future

    def fails(self, error: Exception) -> None:
        def outcome(_request: Request) -> Reply:
            raise error

        self.outcome = outcome


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ask"
    monkeypatch.setenv("RAMSHARE_GUEST_SOCKET", str(path))
    monkeypatch.setenv("RAMSHARE_ENV_FILE", str(tmp_path / "none.env"))
    return path


@pytest.fixture
def door(path: Path, host: FakeHost) -> Iterator[SocketDoor]:
    door = SocketDoor(path)
    door.open(host.ask)
    yield door
    door.close()


def run(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


@pytest.mark.usefixtures("door")
def test_borrow_without_a_volume_asks_this_guests_host(host: FakeHost) -> None:
    result = run("borrow", "--size", "2G")
    assert (result.exit_code, result.stdout) == (0, "Your swap goes to remote memory, by mirror.\n")
    ((server, request),) = host.asked
    assert isinstance(request, BorrowOwnSwap)
    assert (server, request.size_bytes) == ("host", 2 << 30)


@pytest.mark.usefixtures("door")
def test_return_without_a_volume_brings_this_guests_swap_home(host: FakeHost) -> None:
    result = run("return", "--json")
    assert result.exit_code == 0
    assert '"done": true' in result.stdout
    assert isinstance(host.asked[0][1], ReturnOwnSwap)


@pytest.mark.usefixtures("door")
def test_a_refusal_is_one_with_its_code(host: FakeHost) -> None:
    host.outcome = lambda request: Reply(
        request_id=request.request_id, error=ErrorCode.NO_CAPACITY, sentence="there is no memory to lend now"
    )
    result = run("borrow", "--json")
    assert result.exit_code == 5
    assert "there is no memory to lend now" in result.stderr
    assert '"no-capacity"' in result.stdout


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    "args",
    [
        ["borrow", "--host", "hostb"],
        ["borrow", "--mode", "move"],
        ["borrow", "--dry-run"],
        ["borrow", "--wait-for-memory", "1m"],
        ["return", "--host", "hostb"],
    ],
)
def test_a_guest_says_nothing_but_a_size(host: FakeHost, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert "no volume is named" in result.stderr
    assert host.asked == []


@pytest.mark.usefixtures("path")
def test_where_no_monitor_runs_a_volume_must_be_named() -> None:
    result = run("borrow")
    assert result.exit_code == 2
    assert "vg0/swap" in result.stderr
    assert "systemctl start ramshare-monitor" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (RequestTimeoutError("host did not answer borrow"), ErrorCode.NOT_READY, NO_HOST),
        (NotAuthorisedError("refused"), ErrorCode.NOT_ALLOWED, OLD_BROKER),
    ],
)
def test_a_host_that_is_none_has_a_sentence_that_says_why(
    host: FakeHost, error: Exception, code: ErrorCode, sentence: str
) -> None:
    host.fails(error)
    reply = answer(BorrowOwnSwap().to_json(), host.ask)
    assert (reply.error, reply.sentence) == (code, sentence)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"borrow",
        b"\xff\xfe",
        BorrowVolume(volume="vg0/other").to_json(),
        b'{"schema": "borrow-own-swap/1", "size_bytes": -1}',
        b'{"schema": "borrow-own-swap/1", "request_id": "../../x"}',
        b"[" * 4000 + b'"borrow-own-swap/1"',
    ],
)
def test_what_is_no_request_of_a_guest_goes_no_further(host: FakeHost, line: bytes) -> None:
    assert answer(line, host.ask).error is ErrorCode.BAD_REQUEST
    assert host.asked == []


def test_only_root_and_the_monitor_itself_are_heard(
    path: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.geteuid()
    monkeypatch.setattr("ramshare.monitor.door.os.geteuid", lambda: me + 1)  # the monitor is somebody else
    door = SocketDoor(path, uids=frozenset({me + 2}))
    door.open(host.ask)
    result = run("borrow")
    door.close()
    assert result.exit_code == 5
    assert "only root" in result.stderr
    assert host.asked == []
    assert not path.exists()


@pytest.mark.usefixtures("door")
def test_the_socket_is_its_owners_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("door")
def test_who_says_too_much_or_nothing_is_answered_and_the_next_is_served(path: Path, host: FakeHost) -> None:
    for said in (b"x" * (2 * MAX_LINE_BYTES), b"\n"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(said)
            assert b'"bad-request"' in connection.recv(4096)
    assert run("borrow").exit_code == 0


def test_a_monitor_without_a_directory_for_it_goes_on_without(tmp_path: Path, host: FakeHost) -> None:
    door = SocketDoor(tmp_path / "none" / "ask")
    door.open(host.ask)
    door.close()


def test_a_socket_that_an_earlier_run_left_is_replaced(path: Path, host: FakeHost) -> None:
    path.touch()
    door = SocketDoor(path)
    door.open(host.ask)
    assert run("borrow").exit_code == 0
    door.close()
    door.close()
