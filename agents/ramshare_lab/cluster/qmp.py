"""Control a running QEMU over its QMP socket: one command, one answer."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramshare.errors import RamshareError

TIMEOUT_S = 10.0


class QmpError(RamshareError):
    """QEMU refused a command or is not there."""


def execute(path: Path, command: str, arguments: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Run one QMP command and return what it gives back. Raises `QmpError`."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(path))
            with sock.makefile("rw") as stream:
                stream.readline()
                _ask(stream, "qmp_capabilities", {})
                return _ask(stream, command, arguments or {})
    except OSError as error:
        raise QmpError(f"QEMU does not answer at {path}: {error}") from error


def _ask(stream: Any, command: str, arguments: Mapping[str, object]) -> dict[str, Any]:
    stream.write(json.dumps({"execute": command, "arguments": dict(arguments)}) + "\n")
    stream.flush()
    for line in stream:
        message = json.loads(line)
        if "error" in message:
            raise QmpError(f"QEMU refused {command}: {message['error'].get('desc')}")
        if "return" in message:
            answer: dict[str, Any] = message["return"]
            return answer
    raise QmpError(f"QEMU closed the connection instead of answering {command}")
