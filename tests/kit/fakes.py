"""Fakes of the outside world that several tests share.

`FakeRunner` stands in for processes: it records what was run, answers what it was told to, and fails the test for any
command that it does not know, so that no test passes because a fake said yes to everything.
"""

import fnmatch
import io
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import cast

from ramshare.linux.run import DEFAULT_TIMEOUT_S, CommandError, Completed, shown

Pattern = tuple[str | EllipsisType, ...]
Handler = Callable[[tuple[str, ...]], Completed | str | None]


class UnexpectedCommandError(AssertionError):
    """The code under test ran a command that its test did not foresee."""


@dataclass
class Rule:
    """A pattern, what to answer, and how often it may still be used (None: for ever)."""

    pattern: Pattern
    answer: Handler
    left: int | None

    def matches(self, argv: tuple[str, ...]) -> bool:
        """Whether `argv` fits: each word is a glob, and a final `...` stands for any further words."""
        pattern = self.pattern
        if pattern and pattern[-1] is ...:
            pattern = pattern[:-1]
            argv = argv[: len(pattern)]
        return len(argv) == len(pattern) and all(
            part is ... or fnmatch.fnmatchcase(word, part) for word, part in zip(argv, pattern, strict=True)
        )


class FakeProcess:
    """What `FakeRunner.spawn` returns: a process that runs until it is told to end."""

    def __init__(self, argv: tuple[str, ...], pid: int) -> None:
        self.args = argv
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = io.StringIO()
        self.stdout = io.StringIO()

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; a process that was never ended is a time-out."""
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def terminate(self) -> None:
        """End with SIGTERM's status."""
        self.returncode = -15

    def kill(self) -> None:
        """End with SIGKILL's status."""
        self.returncode = -9


class FakeRunner:
    """A `Runner` that answers from rules; the newest rule that matches wins.

    >>> runner = FakeRunner()
    >>> runner.on("pvmove", ..., returncode=5, stderr="No data to move for vg0.")
    >>> runner.on("lvm", "fullreport", ..., stdout=text)
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        """Everything that was run, in order."""
        self.stdins: list[str] = []
        """What each of `calls` got on its standard input."""
        self.spawned: list[FakeProcess] = []
        self._rules: list[Rule] = []

    def on(
        self,
        *pattern: str | EllipsisType,
        stdout: str = "",
        stderr: str = "",
        returncode: int = 0,
        times: int | None = None,
    ) -> "FakeRunner":
        """Answer commands that match `pattern` this way, for the next `times` of them (None: always)."""
        return self.handle(*pattern, handler=lambda argv: Completed(argv, returncode, stdout, stderr), times=times)

    def handle(self, *pattern: str | EllipsisType, handler: Handler, times: int | None = None) -> "FakeRunner":
        """Have `handler` answer: with a `Completed`, with the standard output of a success, or None for silence."""
        self._rules.append(Rule(pattern, handler, times))
        return self

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ok: Sequence[int] = (0,),
        stdin: str = "",
        secrets: Sequence[str] = (),
    ) -> Completed:
        """See `Runner.run`."""
        done = self._answer(tuple(argv), stdin)
        if done.returncode not in ok:
            raise CommandError(done, f"exit status {done.returncode}", shown(argv, secrets))
        return done

    def spawn(
        self,
        argv: Sequence[str],
        *,
        log_path: Path | None = None,
        env: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
        pipes: bool = False,
    ) -> "subprocess.Popen[str]":
        """See `Runner.spawn`."""
        self._answer(tuple(argv), "")
        process = FakeProcess(tuple(argv), pid=100_000 + len(self.spawned))
        self.spawned.append(process)
        return cast("subprocess.Popen[str]", process)

    def ran(self, *pattern: str | EllipsisType) -> list[tuple[str, ...]]:
        """Return the calls that match `pattern`."""
        rule = Rule(pattern, lambda _: None, None)
        return [call for call in self.calls if rule.matches(call)]

    def said(self, secret: str) -> bool:
        """Whether `secret` ever stood in a command line."""
        return any(secret in word for call in self.calls for word in call)

    def _answer(self, argv: tuple[str, ...], stdin: str) -> Completed:
        for rule in reversed(self._rules):
            if rule.left != 0 and rule.matches(argv):
                self.calls.append(argv)
                self.stdins.append(stdin)
                if rule.left is not None:
                    rule.left -= 1
                answer = rule.answer(argv)
                return answer if isinstance(answer, Completed) else Completed(argv, 0, answer or "")
        raise UnexpectedCommandError(f"unexpected command: {shown(argv)}")
