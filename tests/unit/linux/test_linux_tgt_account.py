"""The one request that goes to tgtd's control socket directly, against a socket that records what it got."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramshare.linux.tgt_account import TgtSocketError, create_account

pytestmark = pytest.mark.unit


class FakeTgtd:
    """Listens where tgtd would, keeps the request and answers with `status`."""

    def __init__(self, path: Path) -> None:
        self.status: int | None = 0
        self.request = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        link, _ = self._listener.accept()
        with link:
            self.request = link.recv(4096)
            if self.status is not None:
                link.sendall(struct.pack("=II", self.status, 8))

    def close(self) -> None:
        self._listener.close()
        self._thread.join(1)


@pytest.fixture
def tgtd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTgtd]:
    monkeypatch.setenv("TGT_IPC_SOCKET", str(tmp_path / "socket"))
    fake = FakeTgtd(tmp_path / "socket.9")
    yield fake
    fake.close()


def test_the_request_is_the_one_that_tgtadm_would_send(tgtd: FakeTgtd) -> None:
    assert create_account(9, "u1", "secret") is True
    # Layout as gcc lays out `struct tgtadm_req` of tgt 1.0.85: 120 bytes, length at 72, target at 76.
    assert len(tgtd.request) == 120 + len(b"user=u1,password=secret\0")
    assert struct.unpack_from("=ii", tgtd.request, 0) == (7, 0)
    assert tgtd.request[8:72].rstrip(b"\0") == b"iscsi"
    assert struct.unpack_from("=Ii", tgtd.request, 72) == (len(tgtd.request), -1)
    assert tgtd.request[80:120] == bytes(40)
    assert tgtd.request[120:] == b"user=u1,password=secret\0"


def test_an_account_that_exists_is_reported_and_no_error(tgtd: FakeTgtd) -> None:
    tgtd.status = 14
    assert create_account(9, "u1", "secret") is False


def test_a_refusal_and_a_closed_socket_are_errors_without_the_secret(tgtd: FakeTgtd) -> None:
    tgtd.status = 17
    with pytest.raises(TgtSocketError, match="error 17") as caught:
        create_account(9, "u1", "s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_a_daemon_that_hangs_up_is_an_error(tgtd: FakeTgtd) -> None:
    tgtd.status = None
    with pytest.raises(TgtSocketError, match="without an answer"):
        create_account(9, "u1", "secret")


def test_no_daemon_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGT_IPC_SOCKET", str(tmp_path / "socket"))
    with pytest.raises(TgtSocketError, match="is tgtd running"):
        create_account(9, "u1", "secret")


@pytest.mark.parametrize(("user", "secret"), [("", "x"), ("u", ""), ("a,b", "x"), ("u", "x,password=y")])
def test_what_would_break_the_request_is_refused(user: str, secret: str) -> None:
    with pytest.raises(TgtSocketError, match="comma"):
        create_account(9, user, secret)
