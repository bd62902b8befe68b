"""`ramshare borrow` and `return` in a guest, for its own swap: asked by way of the monitor, which has the account."""

import socket

from ramshare.cli.output import UsageError, out, print_json
from ramshare.cli.session import HINTS, RequestRefusedError
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import BorrowOwnSwap, ReturnOwnSwap
from ramshare.settings import HostSettings, load

ANSWER_S = 70.0
"""Longer than the monitor waits for the host."""
_NOT_HINTED = frozenset({ErrorCode.NOT_ALLOWED, ErrorCode.NO_CAPACITY})
"""The usual hints name commands that a guest has no account for."""


def ask_host(request: BorrowOwnSwap | ReturnOwnSwap, *, as_json: bool) -> None:
    """Ask this guest's host, and print its answer. Raises `AwayError` or `RequestRefusedError`."""
    reply = _asked(request)
    if reply.error is not None:
        hint = "" if reply.error in _NOT_HINTED else HINTS.get(reply.error, "")
        raise RequestRefusedError(reply.error, reply.sentence, hint)
    if as_json:
        print_json({"done": True, "sentence": reply.sentence})
    else:
        out().print(f"{reply.sentence[:1].upper()}{reply.sentence[1:]}.", soft_wrap=True)


def _asked(request: BorrowOwnSwap | ReturnOwnSwap) -> Reply:
    path = load(HostSettings).guest_socket
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(path))
            connection.sendall(request.to_json() + b"\n")
            with connection.makefile("rb") as answers:
                return Reply.model_validate_json(answers.readline(1 << 16))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise UsageError(
            "no volume is named, and no monitor runs here that could ask for this guest's own swap",
            "on a host write VG/LV as lvs shows it, for example vg0/swap; in a guest: systemctl start ramshare-monitor",
        ) from error
    except PermissionError as error:
        raise RamshareError(f"{path}: only root may ask for this guest", "use sudo") from error
    except (OSError, ValueError) as error:
        raise RamshareError(
            f"the monitor did not answer: {error or type(error).__name__}", "systemctl status ramshare-monitor"
        ) from error
