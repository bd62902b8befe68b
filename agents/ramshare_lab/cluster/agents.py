"""The agents of a lab as processes that can be started, stopped, killed and started again by name."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ramshare.errors import RamshareError
from ramshare.linux.run import Runner
from ramshare_lab.cluster.journal import Journal
from ramshare_lab.cluster.remote import RemoteError, RemoteProcess, RemoteShell

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT_S = 10.0


class AgentStillRunsError(RamshareError):
    """An agent did not end in time after it was asked to."""


@dataclass(frozen=True)
class AgentSpec:
    """What to start: `python -m ramshare.launch ROLE` with settings from the environment."""

    name: str
    """The MQTT client name, for example `lender.hosta`."""
    role: str
    host: str
    """Where it runs: a host, a VM, or the switch."""
    env: Mapping[str, str]
    module: str = "ramshare.launch"

    @property
    def argv(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", self.module, self.role]


class AgentProcess(Protocol):
    """One agent, native or in a VM."""

    spec: AgentSpec

    def start(self) -> None:
        """Start it; does nothing when it runs."""
        ...

    def stop(self) -> None:
        """Ask it to end in order and wait. Raises `AgentStillRunsError`."""
        ...

    def kill(self) -> None:
        """End it like a crash. Does nothing when it does not run."""
        ...

    def running(self) -> bool:
        """Return whether it runs."""
        ...

    def pid(self) -> int | None:
        """Return its process id, on its own host."""
        ...


class NativeAgent:
    """An agent on this machine, in its host's network namespace or on the switch."""

    def __init__(self, spec: AgentSpec, runner: Runner, log_path: Path, journal: Journal) -> None:
        self.spec = spec
        self._runner = runner
        self._log_path = log_path
        self._journal = journal
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """See `AgentProcess.start`."""
        if not self.running():
            self._process = self._runner.spawn(self.spec.argv, log_path=self._log_path, env=self.spec.env)
            self._journal.record_process(self._process.pid, self.spec.name)

    def stop(self) -> None:
        """See `AgentProcess.stop`."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as late:
            raise AgentStillRunsError(f"{self.spec.name} still runs {STOP_TIMEOUT_S:g} s after SIGTERM") from late

    def kill(self) -> None:
        """See `AgentProcess.kill`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def running(self) -> bool:
        """See `AgentProcess.running`."""
        return self._process is not None and self._process.poll() is None

    def pid(self) -> int | None:
        """See `AgentProcess.pid`."""
        return self._process.pid if self._process is not None else None


class VmAgent:
    """An agent inside a VM. It writes its log through the VM's persistent share, so it never waits for this process."""

    def __init__(self, spec: AgentSpec, shell: RemoteShell) -> None:
        self.spec = spec
        self._shell = shell
        self._process: RemoteProcess | None = None

    def start(self) -> None:
        """See `AgentProcess.start`."""
        if not self.running():
            log = f"/var/lib/ramshare/log/{self.spec.name}.log"
            self._process = self._shell.open(self.spec.argv, env=self.spec.env, stdin=False, log=log)

    def stop(self) -> None:
        """See `AgentProcess.stop`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """See `AgentProcess.kill`."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with process, contextlib.suppress(RemoteError):
            process.signal(number)
            process.wait(STOP_TIMEOUT_S)

    def running(self) -> bool:
        """See `AgentProcess.running`."""
        if self._process is None:
            return False
        try:
            return self._process.poll() is None
        except RemoteError:
            self._process = None
            return False

    def pid(self) -> int | None:
        """See `AgentProcess.pid`."""
        if self._process is not None:
            self._process.poll()
        return self._process.pid if self._process is not None else None
