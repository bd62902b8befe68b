"""A virtual machine on a clean Debian root of its own, with systemd as init and nothing masked; see `debian_root.py`.

Two network cards: QEMU's own network for the lab's way in, and a cable to the other machines. No address, bridge or
process of this machine is touched but QEMU's.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.run import Runner
from ramshare_lab.cluster.accel import accel_arguments
from ramshare_lab.cluster.initramfs import NIC, P9_TAG
from ramshare_lab.cluster.kernel import Kernel
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.vm import VmError
from ramshare_lab.cluster.vm_spec import KERNEL_WORDS, LAB_DIR, MIB
from ramshare_lab.cluster.vmagent import PORT

BOOT_S = 900.0
GROUP = "239.192.7.7"
"""Administratively scoped, see RFC 2365; with `localaddr` on the loopback nothing leaves this machine."""
WAY_IN = "usr/local/lib/ramshare-lab"

_HANDOVER = """#!/bin/sh
mkdir -p /usr/lib/modules
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=262144,ro modules /usr/lib/modules
exec /lib/systemd/systemd
"""
_COMMANDS = f"""[Unit]
Description=the lab's way in
[Service]
ExecStart=/usr/bin/python3 -I -S /{WAY_IN}/vmagent.py
Restart=always
KillMode=process
[Install]
WantedBy=multi-user.target
"""
_NETWORK = "[Match]\nMACAddress={mac}\n[Network]\nLinkLocalAddressing=no\n{addresses}"
_MANAGER = "[Manager]\nLogColor=no\nDefaultTimeoutStartSec=300s\nDefaultDeviceTimeoutSec=300s\n"


@dataclass(frozen=True)
class DebianSpec:
    """What tells one such machine from another."""

    name: str
    root: Path
    """Its own; what the machine writes stays in its memory."""
    number: int
    """Makes its hardware addresses."""
    addresses: tuple[str, ...]
    """On the cable, with their prefix length."""
    memory_bytes: int
    disk: Path | None = None

    def mac(self, card: int) -> str:
        """The hardware address of a card."""
        return f"52:54:00:12:{self.number:02x}:{card:02x}"

    def lay_out(self, hosts: str) -> None:
        """Write what its installer would have asked for, and the lab's way in."""
        units = "etc/systemd/system"
        cable = "".join(f"Address={address}\n" for address in self.addresses)
        files = {
            f"{WAY_IN}/vmagent.py": (LAB_DIR / "vmagent.py").read_text(),
            f"{WAY_IN}/init": _HANDOVER,
            f"{units}/lab-commands.service": _COMMANDS,
            "etc/systemd/network/way-in.network": _NETWORK.format(mac=self.mac(1), addresses="Address=10.0.2.15/24\n"),
            "etc/systemd/network/cable.network": _NETWORK.format(mac=self.mac(2), addresses=cable),
            "etc/systemd/system.conf": _MANAGER,
            "etc/hostname": f"{self.name}\n",
            "etc/fstab": "",
            "etc/hosts": f"127.0.0.1 localhost\n{hosts}",
        }
        for name, text in files.items():
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        wanted = self.root / units / "multi-user.target.wants"
        wanted.mkdir(exist_ok=True)
        for unit in ("/etc/systemd/system/lab-commands.service", "/lib/systemd/system/systemd-networkd.service"):
            (wanted / Path(unit).name).symlink_to(unit)


class DebianVm:
    """Such a machine, running."""

    def __init__(self, spec: DebianSpec, logs: Path, way_in: int, run: Runner) -> None:
        """`way_in`: a port of this machine's loopback; `logs`: directory for what QEMU and the console say."""
        self.spec = spec
        self.console_log = logs / f"{spec.name}.console"
        self._qemu_log = logs / f"{spec.name}.qemu"
        self._run = run
        self._process: subprocess.Popen[str] | None = None
        self.shell = RemoteShell("127.0.0.1", way_in)

    def start(self, kernel: Kernel, initramfs: Path, accel: str, cable: int) -> None:
        """Start QEMU; returns at once. `cable`: port of the multicast group that joins the machines of one cluster."""
        argv = self._argv(kernel, initramfs, accel, cable)
        self._process = self._run.spawn(argv, log_path=self._qemu_log, die_with_parent=True)

    def await_boot(self) -> None:
        """Wait until systemd has started all. Raises `VmError`."""
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise VmError(f"QEMU of {self.spec.name} has ended", f"see {self._qemu_log}")
            if self.shell.alive(timeout_s=5.0):
                self.shell.run(["systemctl", "is-system-running", "--wait"], timeout_s=BOOT_S, ok=(0, 1))
                return
            time.sleep(0.5)
        raise VmError(f"{self.spec.name} did not come up within {BOOT_S:g} s", f"see {self.console_log}")

    def stop(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10.0)

    def _argv(self, kernel: Kernel, initramfs: Path, accel: str, cable: int) -> list[str]:
        spec = self.spec
        words = f"ramshare.role=debian ramshare.init=/{WAY_IN}/init ramshare.upper=256m"
        argv = ["qemu-system-x86_64", "-name", f"ramshare-debian-{spec.name}", "-nodefaults", "-no-user-config"]
        argv += ["-display", "none", "-machine", "q35", *accel_arguments(accel)]
        argv += ["-smp", "1", "-m", f"{spec.memory_bytes // MIB}M"]
        argv += ["-kernel", str(kernel.image), "-initrd", str(initramfs)]
        argv += ["-append", f"{KERNEL_WORDS} {words}", "-serial", f"file:{self.console_log}"]
        for tag, path in {P9_TAG: spec.root, "modules": kernel.tree / "lib/modules"}.items():
            argv += ["-fsdev", f"local,id={tag},path={path},security_model=none,readonly=on,multidevs=remap"]
            argv += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        cards = (
            f"user,restrict=on,hostfwd=tcp:127.0.0.1:{self.shell.port}-:{PORT}",
            f"socket,mcast={GROUP}:{cable},localaddr=127.0.0.1",
        )
        for number, card in enumerate(cards, 1):
            kind, _, rest = card.partition(",")
            argv += ["-netdev", f"{kind},id=card{number},{rest}"]
            argv += ["-device", f"{NIC},netdev=card{number},mac={spec.mac(number)},romfile="]
        if spec.disk is not None:
            argv += ["-drive", f"file={spec.disk},if=none,id=disk,format=raw,cache=unsafe,discard=unmap"]
            argv += ["-device", "virtio-blk-pci,drive=disk"]
        return argv
