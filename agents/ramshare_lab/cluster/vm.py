"""The life of a virtual machine of the lab: start, shell, reset, balloon, end. What it is stands in `vm_spec.py`."""

import subprocess
import time

from ramshare.errors import RamshareError
from ramshare.linux.run import Runner
from ramshare_lab.cluster import qmp
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.vm_spec import VmSpec

READY_TIMEOUT_S = 240.0


class VmError(RamshareError):
    """A VM did not start, or ended by itself."""


class Vm:
    """A VM that runs: its shell, its power button and its balloon."""

    def __init__(self, spec: VmSpec, argv: list[str], runner: Runner) -> None:
        self.spec = spec
        self.shell = RemoteShell(spec.address)
        self._argv = argv
        self._runner = runner
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """QEMU's process id."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Make the disk if there is none and start QEMU; returns at once."""
        self._make_room()
        self._process = self._runner.spawn(self._argv, log_path=self.spec.state_dir / "qemu.log")

    def running(self) -> bool:
        """Return whether the machine is on, whatever its kernel does."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> float:
        """Wait until the VM takes commands and return the seconds that took.

        Raises `VmError` with the last lines of its console when it ends or stays silent.
        """
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            if not self.running():
                raise VmError(f"QEMU for {self.spec.name} has ended: {self._tail()}", f"see {self.spec.state_dir}")
            if self.shell.alive(timeout_s=1.0):
                return time.monotonic() - started
            time.sleep(0.1)
        raise VmError(f"{self.spec.name} did not come up within {timeout_s:g} s: {self._tail()}")

    def reset(self) -> None:
        """Press the reset button: memory is lost, the local disk and `/var/lib/ramshare` stay."""
        qmp.execute(self.spec.qmp_socket, "system_reset")

    def balloon(self, target_bytes: int) -> None:
        """Ask the VM's balloon to leave it `target_bytes`; it gets there by and by."""
        qmp.execute(self.spec.qmp_socket, "balloon", {"value": target_bytes})

    def balloon_actual_bytes(self) -> int:
        """Return how much memory the VM has with its balloon as it is now."""
        return int(qmp.execute(self.spec.qmp_socket, "query-balloon")["actual"])

    def stop(self, timeout_s: float = 5.0) -> None:
        """Switch the VM off like a pulled plug."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout_s)
        self._process = None

    def _make_room(self) -> None:
        self.spec.persist_dir.mkdir(parents=True, exist_ok=True)
        for spec in (self.spec.disk, self.spec.second_disk):
            if spec is not None and not spec.path.exists():
                with spec.path.open("wb") as disk:
                    disk.truncate(spec.size_bytes)

    def _tail(self) -> str:
        lines: list[str] = []
        for path in (self.spec.state_dir / "qemu.log", self.spec.console_log):
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()[-3:]
        return " | ".join(lines)
