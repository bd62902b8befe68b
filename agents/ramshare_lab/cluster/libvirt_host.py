"""A private libvirtd for one lab, and VMs that run under it. Used by `lab.py` for the guests of a lender's host.

It has a configuration, a state and a socket of its own below the lab's directory, in mount and PID namespaces of its
own: it neither sees nor disturbs this machine's libvirt, needs no systemd and no D-Bus, and the kernel ends all of it,
the guests' QEMUs included, when the namespace's first process is killed. That one carries the lab's marker.
"""

import os
import signal
import time
from pathlib import Path

import psutil

from ramshare.errors import MissingPartError, RamshareError
from ramshare.linux.run import CommandError, Runner, require_tools
from ramshare_lab.cluster.journal import Journal
from ramshare_lab.cluster.vm import Vm, VmError
from ramshare_lab.cluster.vm_spec import LAB_DIR, VmSpec

TOOLS = ("libvirtd", "virsh", "unshare")
DRIVER = Path("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so")
READY_TIMEOUT_S = 60.0
"""It answers after 0.1 s, and after 2 s more once it has asked QEMU what it can do; a busy machine needs longer."""
VIRSH_TIMEOUT_S = 60.0

_DAEMON = """\
unix_sock_dir = "{sockets}"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "3:stderr"
"""
_QEMU = """\
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""
"""No confinement: that would need this machine's AppArmor, cgroups and virtlogd. A guest sees the machine read-only."""


class LibvirtError(RamshareError):
    """The lab's libvirtd did not start, or refused."""


def require_libvirt() -> None:
    """Raise `MissingPartError` unless libvirtd and its QEMU driver are installed."""
    require_tools(TOOLS)
    if not DRIVER.exists() and not list(Path("/usr").glob("lib*/libvirt/connection-driver/libvirt_driver_qemu.so")):
        raise MissingPartError("libvirt has no QEMU driver", "apt-get install libvirt-daemon-driver-qemu")


class LibvirtHost:
    """The daemon of one lab. `start` it in the network namespace whose taps the guests use; the journal ends it."""

    def __init__(self, directory: Path, runner: Runner, journal: Journal) -> None:
        self.directory = directory
        self._runner = runner
        self._journal = journal
        self._holder: psutil.Process | None = None

    @property
    def uri(self) -> str:
        """What libvirt's clients, the lender among them, connect to."""
        return f"qemu:///system?socket={self.directory}/sockets/libvirt-sock"

    @property
    def log_path(self) -> Path:
        """What the daemon says."""
        return self.directory / "libvirtd.log"

    def start(self) -> None:
        """Start the daemon and wait until it serves. Raises `LibvirtError` with its last line if it does not."""
        configuration = self.directory / "etc" / "libvirt"
        configuration.mkdir(parents=True)
        (self.directory / "sockets").mkdir()
        (configuration / "libvirtd.conf").write_text(_DAEMON.format(sockets=self.directory / "sockets"))
        (configuration / "qemu.conf").write_text(_QEMU)
        spaces = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv = ["unshare", *spaces, "/bin/sh", str(LAB_DIR / "libvirt_daemon.sh"), str(self.directory)]
        process = self._runner.spawn(argv, log_path=self.log_path)
        self._journal.record_process(process.pid, "libvirt")
        self._holder = psutil.Process(process.pid)
        self.wait_ready()
        for child in self._holder.children():  # the namespace's first process ends last
            self._journal.record_process(child.pid, "libvirt")

    def wait_ready(self) -> None:
        """Wait until the daemon answers, for example after `kill`."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                self.virsh("version")
                return
            except CommandError as error:
                if time.monotonic() > deadline or self._holder is None or not self._holder.is_running():
                    raise LibvirtError(f"libvirtd does not serve: {error.message}", f"see {self.log_path}") from error
                time.sleep(0.1)

    def kill(self) -> None:
        """End the daemon like a crash; guests go on, and a new one comes up after a second (`wait_ready`)."""
        for pid in self._daemons():
            os.kill(pid, signal.SIGKILL)

    def virsh(self, *words: str) -> str:
        """Run one command of libvirt's own client and return what it prints. Raises `CommandError`."""
        return self._runner.run(["virsh", "-q", "-c", self.uri, *words], timeout_s=VIRSH_TIMEOUT_S).stdout

    def pid_of(self, guest: str) -> int | None:
        """Return the process id of a guest's QEMU on this machine, None if it does not run."""
        return next((p.pid for p in self._below() if any(w.startswith(f"guest={guest},") for w in p.cmdline())), None)

    def _daemons(self) -> list[int]:
        return [process.pid for process in self._below() if process.name() == "libvirtd"]

    def _below(self) -> list[psutil.Process]:
        return self._holder.children(recursive=True) if self._holder is not None else []


class LibvirtVm(Vm):
    """A VM that libvirt runs. Transient: libvirt forgets it when it ends, and `start` makes it anew."""

    def __init__(self, spec: VmSpec, xml: str, host: LibvirtHost, runner: Runner) -> None:
        super().__init__(spec, [], runner)
        self._xml = xml
        self._host = host

    @property
    def pid(self) -> int | None:
        """See `Vm.pid`."""
        return self._host.pid_of(self.spec.name)

    def start(self) -> None:
        """See `Vm.start`. Raises `VmError` with libvirt's words."""
        self._make_room()
        path = self.spec.state_dir / "domain.xml"
        path.write_text(self._xml)
        try:
            self._host.virsh("create", str(path))
        except CommandError as error:
            raise VmError(f"libvirt does not start {self.spec.name}: {error.message}") from error

    def running(self) -> bool:
        """See `Vm.running`."""
        try:
            return self._host.virsh("domstate", self.spec.name).strip() == "running"
        except CommandError:
            return False

    def reset(self) -> None:
        """See `Vm.reset`."""
        self._host.virsh("reset", self.spec.name)

    def balloon(self, target_bytes: int) -> None:
        """See `Vm.balloon`."""
        self._host.virsh("setmem", self.spec.name, f"{target_bytes // 1024}k", "--live")

    def balloon_actual_bytes(self) -> int:
        """See `Vm.balloon_actual_bytes`."""
        lines = (line.split() for line in self._host.virsh("dommemstat", self.spec.name).splitlines())
        return int(dict(line for line in lines if len(line) == 2)["actual"]) * 1024

    def stop(self, timeout_s: float = 5.0) -> None:
        """See `Vm.stop`."""
        if self.running():
            self._host.virsh("destroy", self.spec.name)
