"""Which account a command connects with, when several commands of one person run at the same time.

The broker holds one connection for each account: a second one throws the first out. So a command locks the account it
uses (on this machine), and another takes the next of that person's accounts: `cli.alice`, then `cli.alice-watch`,
or whatever else lies beside it in a directory of password files.
"""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings

WAIT_S = 5.0
"""A status takes a fraction of a second; who still holds the account after this time is likely to keep it."""
POLL_S = 0.1


class AccountInUseError(RamshareError):
    """All accounts that this person has here are in use."""

    code = "account-in-use"


@contextmanager
def account_lock(
    accounts: Sequence[BrokerSettings],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[BrokerSettings]:
    """Hold the first account that no other command on this machine uses. Raises `AccountInUseError`."""
    directory = _directory()
    if directory is None:
        yield accounts[0]
        return
    deadline = clock() + WAIT_S
    while True:
        for account in accounts:
            handle = _lock(directory / f"{account.broker_host}-{account.port}-{account.client}.lock")
            if handle is not None:
                try:
                    yield account
                finally:
                    os.close(handle)
                return
        if clock() >= deadline:
            raise AccountInUseError(
                f"another command is connected as {accounts[0].client}{_holder(directory, accounts[0])}",
                f"end it, or have an account made for this one, for example {accounts[0].client}-2 (--client)",
            )
        sleep(POLL_S)


def _directory() -> Path | None:
    """Return a directory of ours for locks; None where there is no place for one: then nothing is locked."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    directory = base / f"ramshare-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        ours = directory.lstat().st_uid == os.getuid() and not directory.is_symlink()
    except OSError:
        return None
    return directory if ours else None


def _lock(path: Path) -> int | None:
    """Return an open descriptor that holds the lock until it is closed, None if another process has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def _holder(directory: Path, account: BrokerSettings) -> str:
    path = directory / f"{account.broker_host}-{account.port}-{account.client}.lock"
    with contextlib.suppress(OSError):
        pid = path.read_text().strip()
        if pid.isdecimal():
            return f" (process {pid})"
    return ""
