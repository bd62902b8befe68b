"""The command server of a VM and its client, over loopback, with real processes."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramshare.linux.run import CommandError
from ramshare_lab.cluster.remote import RemoteError, RemoteShell, RemoteTimeoutError
from ramshare_lab.cluster.vmagent import Connection

pytestmark = pytest.mark.unit


@pytest.fixture
def shell() -> Iterator[RemoteShell]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=Connection(sock).serve, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield RemoteShell("127.0.0.1", server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def gone(pid: int, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


def test_a_command_returns_its_output_and_its_status(shell: RemoteShell) -> None:
    done = shell.run(["sh", "-c", "echo out; echo err >&2; exit 4"], ok=(4,))
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")


def test_a_status_that_is_not_expected_is_an_error_with_the_last_line(shell: RemoteShell) -> None:
    with pytest.raises(CommandError, match=r"exit status 1 in the VM.*: boom"):
        shell.run(["sh", "-c", "echo boom >&2; exit 1"])


def test_input_reaches_the_command_and_ends(shell: RemoteShell) -> None:
    assert shell.run(["cat"], stdin="one\ntwo\n").stdout == "one\ntwo\n"


def test_large_output_arrives_whole(shell: RemoteShell) -> None:
    assert len(shell.run(["head", "-c", "3000000", "/dev/zero"]).stdout) == 3_000_000


def test_secrets_are_masked_in_output_and_errors(shell: RemoteShell) -> None:
    assert shell.run(["echo", "pass1234"], secrets=["pass1234"]).stdout == "***\n"
    with pytest.raises(CommandError) as caught:
        shell.run(["sh", "-c", "echo pass1234; false"], secrets=["pass1234"])
    assert "pass1234" not in str(caught.value)


def test_a_program_is_controlled_line_by_line(shell: RemoteShell) -> None:
    with shell.open(["sh", "-c", 'while read -r x; do echo "got $x"; done']) as process:
        process.send_line("a")
        assert process.read_line(5) == "got a"
        process.send_line("b")
        assert process.read_line(5) == "got b"
        process.send_eof()
        assert process.read_line(5) is None
        assert process.returncode == 0


def test_silence_is_a_timeout_and_the_command_goes_on(shell: RemoteShell) -> None:
    with shell.open(["cat"]) as process:
        with pytest.raises(RemoteTimeoutError):
            process.read_line(0.05)
        process.send_line("still here")
        assert process.read_line(5) == "still here"


def test_a_command_that_takes_too_long_is_killed(shell: RemoteShell) -> None:
    with pytest.raises(CommandError, match=r"no end in the VM after 0\.2 s"):
        shell.run(["sleep", "60"], timeout_s=0.2)


def test_closing_the_connection_kills_the_command_and_its_children(shell: RemoteShell) -> None:
    process = shell.open(["sh", "-c", "sleep 60 & echo $!; wait"])
    child = int(process.read_line(5) or "0")
    parent = process.pid
    process.close()
    assert parent is not None and gone(parent) and gone(child)


def test_a_signal_reaches_the_command(shell: RemoteShell) -> None:
    with shell.open(["sleep", "60"]) as process:
        process.signal(signal.SIGTERM)
        assert process.wait(5).returncode == -signal.SIGTERM


def test_a_daemon_that_keeps_the_output_open_does_not_hold_the_answer_back(shell: RemoteShell) -> None:
    done = shell.run(["sh", "-c", "setsid sleep 3 & echo started"], timeout_s=2)
    assert done.stdout == "started\n"


def test_output_can_go_to_a_file_instead(shell: RemoteShell, tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    with shell.open(["echo", "hello"], stdin=False, log=str(log)) as process:
        assert process.wait(5).stdout == ""
    assert log.read_text() == "hello\n"


def test_a_command_that_does_not_exist_is_named(shell: RemoteShell) -> None:
    with pytest.raises(RemoteError, match="no-such-command"):
        shell.run(["no-such-command"])


def test_a_vm_that_is_not_there_is_an_error_and_not_alive() -> None:
    nobody = RemoteShell("127.0.0.1", 1)
    assert not nobody.alive(0.2)
    with pytest.raises(RemoteError, match="does not answer"):
        nobody.run(["true"])


def test_nonsense_from_a_client_ends_its_connection_only(shell: RemoteShell) -> None:
    for nonsense in (b"\n", b"not json\n", b"[]\n", b'{"argv": 3}\n', os.urandom(64) + b"\n"):
        with socket.create_connection((shell.address, shell.port), timeout=5) as sock:
            sock.sendall(nonsense)
            assert b"error" in sock.makefile("rb").readline()
    assert shell.alive()
