"""Python inside a lab VM, statement by statement: what a test wants the machine's own code to do over there."""

import json
import sys
from types import TracebackType
from typing import Any, Self

from ramshare_lab.cluster.agents import PACKAGE_ROOT
from ramshare_lab.cluster.remote import RemoteShell

_PROGRAM = """
import json, sys
scope = {}
for line in sys.stdin:
    try:
        exec(json.loads(line), scope)
        print(json.dumps({"answer": scope.pop("answer", None)}), flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
"""
_TIMEOUT_S = 90.0


class VmPython:
    """One interpreter in a VM; a context manager."""

    def __init__(self, shell: RemoteShell) -> None:
        self._process = shell.open([sys.executable, "-c", _PROGRAM], env={"PYTHONPATH": str(PACKAGE_ROOT)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.close()

    def __call__(self, statements: str) -> Any:
        """Run statements there; return what they left in `answer`. Raises `AssertionError` with what they raised."""
        self._process.send_line(json.dumps(statements))
        line = self._process.read_line(_TIMEOUT_S)
        assert line is not None, self._process.stderr
        told = json.loads(line)
        assert "error" not in told, told["error"]
        return told["answer"]
