"""A borrower's VM that systemd runs: ramshare's units as a real host has them, udev, and an orderly shutdown.

A lab VM boots an init script of its own, in a third of the time. Once it has made its volume group, `SystemdHost.boot`
puts a few files into what it keeps across a reset and resets it: the init script then copies them over its root and
hands over to systemd. Nothing that is enabled on the machine around is started in there.
"""

import shlex
import shutil
import sys
import time
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare_lab.cluster.agents import PACKAGE_ROOT, AgentSpec
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.cluster.vm import Vm, VmError
from ramshare_lab.cluster.vm_spec import LAB_DIR

UNITS_DIR = PACKAGE_ROOT / "systemd"
BOOT_S = 300.0
"""For a boot, and for the shutdown before it."""
MASKED = (
    *("dbus.service", "dbus.socket", "getty.target", "systemd-logind.service", "systemd-user-sessions.service"),
    *("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket", "syslog.socket"),
    *("systemd-journald-audit.socket", "systemd-journal-flush.service", "systemd-update-utmp.service"),
    *("systemd-update-utmp-runlevel.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount"),
    *("systemd-hwdb-update.service", "systemd-sysusers.service", "systemd-random-seed.service", "timers.target"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("sys-fs-fuse-connections.mount", "systemd-tmpfiles-setup.service", "systemd-tmpfiles-setup-dev.service"),
    *("kmod-static-nodes.service", "systemd-modules-load.service", "systemd-sysctl.service", "ldconfig.service"),
)
"""What takes time in emulation and shows nothing here."""
ENABLED = {
    "sysinit.target": ("iscsid.service", "open-iscsi.service", "lvm2-monitor.service", "lvm2-lvmpolld.socket"),
    "multi-user.target": ("lab-commands.service", "lab-network.service"),
}
"""As Debian enables them, and what makes this a host of the lab."""

COMMANDS = """[Unit]
Description=the lab's way in
DefaultDependencies=no
[Service]
ExecStart={python} -I -S {agent}
Restart=always
KillMode=process
"""
NETWORK = """[Unit]
Description=the host's network, for its end
DefaultDependencies=no
Before=network.target network-online.target shutdown.target
Wants=network.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStop=/sbin/ip link set eth0 down
"""
COLDPLUG = """[Service]
ExecStart=
ExecStart=-udevadm trigger --action=add --subsystem-match=block
"""
MANAGER = """[Manager]
LogTarget=console
LogColor=no
DefaultStandardOutput=null
"""


class SystemdHost:
    """One VM of a lab, from its next boot on under systemd."""

    def __init__(self, vm: Vm, borrower: AgentSpec) -> None:
        """`borrower` is the agent that `ramshare-borrower.service` starts."""
        self.vm = vm
        self._borrower = borrower

    @property
    def files(self) -> Path:
        """What is copied over the root at boot; more may be put there."""
        return self.vm.spec.persist_dir / "systemd"

    def log(self, name: str) -> str:
        """Return what a unit of ramshare said, by its name without `ramshare-`."""
        path = self.vm.spec.persist_dir / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def console(self) -> str:
        """Return what kernel and systemd have said so far, since the lab began."""
        return self.vm.spec.console_log.read_text(errors="replace")

    def add_unit(self, name: str, text: str) -> None:
        """Have the running host, and its next boots, know one more unit."""
        self.write(f"etc/systemd/system/{name}", text)
        self.run("cp", f"/var/lib/ramshare/systemd/etc/systemd/system/{name}", "/etc/systemd/system/")
        self.run("systemctl", "daemon-reload")

    def boot(self) -> None:
        """Reset the VM and wait until systemd has started all. Raises `VmError`."""
        self._lay_out()
        self.vm.reset()
        self.await_boot()

    def reboot(self) -> float:
        """Shut down in order and start again; return the seconds until it is up. Raises `VmError`."""
        before = self._boot_id()
        started_s = time.monotonic()
        self.run("systemctl", "--no-block", "reboot")
        self.await_boot(before)
        return time.monotonic() - started_s

    def await_boot(self, before: str = "") -> None:
        """Wait until the host is up, on another boot than `before`, and every job of that boot is done."""
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline:
            self.vm.wait_ready(BOOT_S)
            if self._boot_id() not in ("", before):
                # Degraded means that a unit failed, which tells the caller more than a time-out would.
                self.vm.shell.run(["systemctl", "is-system-running", "--wait"], timeout_s=BOOT_S, ok=(0, 1))
                # LVM activates its group when udev has seen its disk, which no job waits for.
                self.run("systemctl", "start", f"dev-{VOLUME.replace('/', '-')}.device")
                return
            time.sleep(0.5)
        raise VmError(f"{self.vm.spec.name} did not start again", f"see {self.vm.spec.console_log}")

    def run(self, *argv: str, ok: tuple[int, ...] = (0,)) -> str:
        """Run a command there and return what it printed on both channels."""
        done = self.vm.shell.run(list(argv), timeout_s=120.0, ok=ok)
        return done.stdout + done.stderr

    def _boot_id(self) -> str:
        try:
            return self.run("cat", "/proc/sys/kernel/random/boot_id")
        except RamshareError:
            return ""

    def _lay_out(self) -> None:
        shutil.rmtree(self.files, ignore_errors=True)
        units = self.files / "etc/systemd/system"
        units.mkdir(parents=True)
        for file in UNITS_DIR.glob("*.service"):
            shutil.copy(file, units / file.name)
        for unit in MASKED:
            (units / unit).symlink_to("/dev/null")
        for target, wanted in ENABLED.items():
            (units / f"{target}.wants").mkdir()
            for unit in wanted:
                place = "/etc/systemd/system" if unit.startswith("lab-") else "/lib/systemd/system"
                (units / f"{target}.wants" / unit).symlink_to(f"{place}/{unit}")
        self.write("etc/systemd/system/default.target", "[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\n")
        self.write(
            "etc/systemd/system/lab-commands.service",
            COMMANDS.format(python=sys.executable, agent=LAB_DIR / "vmagent.py"),
        )
        self.write("etc/systemd/system/lab-network.service", NETWORK)
        self.write("etc/systemd/system/systemd-udev-trigger.service.d/lab.conf", COLDPLUG)
        self.write("etc/systemd/system/system.slice.d/lab.conf", "[Slice]\nMemorySwapMax=0\nCPUWeight=1000\n")
        self.write("etc/systemd/system/guests.slice.d/lab.conf", "[Slice]\nCPUWeight=10\n")
        for unit in ("borrower", "home", "swap@"):
            log = f"/var/lib/ramshare/log/{unit.removesuffix('@')}.log"
            # The checkout may lie in somebody's home; an installed agent does not.
            settings = f"[Service]\nStandardOutput=append:{log}\nStandardError=inherit\nProtectHome=no\n"
            self.write(f"etc/systemd/system/ramshare-{unit}.service.d/lab.conf", settings)
        self.write("etc/systemd/system.conf", MANAGER)
        self.write("etc/fstab", "")
        name = self.vm.spec.name
        self.write("etc/hostname", f"{name}\n")
        self.write(
            "etc/iscsi/initiatorname.iscsi", f"InitiatorName=iqn.2024-01.org.ramshare:{self.vm.spec.lab}.{name}\n"
        )
        env = {key: value for key, value in self._borrower.env.items() if key.startswith("RAMSHARE_")}
        env.pop("RAMSHARE_ENV_FILE", None)
        self.write("etc/ramshare/ramshare.env", "".join(f"{key}={value}\n" for key, value in env.items()))
        python = f"PYTHONPATH={shlex.quote(str(PACKAGE_ROOT))} exec {shlex.quote(sys.executable)}"
        for command, module in (("ramshare", "ramshare.cli.main"), ("ramshare-agent", "ramshare.launch")):
            self.write(f"usr/local/bin/{command}", f'#!/bin/sh\n{python} -m {module} "$@"\n', 0o755)
        shutil.copy(UNITS_DIR / "ramshare-swap", self.write("usr/local/sbin/ramshare-swap", "", 0o755))

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file into the root of the next boot."""
        file = self.files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file
