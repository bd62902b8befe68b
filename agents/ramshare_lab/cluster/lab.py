"""The cluster on one machine: broker and manager on the switch, lenders in namespaces, borrowers and guests in VMs.

Used by `ramshare lab`, the demo, the fault suite and the tests, always as `with Lab(LabSpec(...)) as lab:`. Whatever
happens, the watcher undoes everything (see `reaper.py`).
"""

import compileall
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ramshare.broker.conf import GUESTS_PORT, HOSTS_PORT
from ramshare.linux.run import SystemRunner, require_root, require_tools
from ramshare_lab.cluster.accel import pick_accel
from ramshare_lab.cluster.agents import PACKAGE_ROOT, AgentProcess, NativeAgent, VmAgent
from ramshare_lab.cluster.blueprint import TLS_IN_VM, agent_specs, vm_specs
from ramshare_lab.cluster.broker import RunningBroker, start_broker
from ramshare_lab.cluster.initramfs import ensure_initramfs
from ramshare_lab.cluster.kernel import Kernel, cache_dir, ensure_kernel
from ramshare_lab.cluster.libvirt_host import LibvirtHost, LibvirtVm, require_libvirt
from ramshare_lab.cluster.libvirt_xml import domain_xml
from ramshare_lab.cluster.netns import SWITCH_ADDRESS, Network
from ramshare_lab.cluster.premises import Premises
from ramshare_lab.cluster.reaper import LeftoverError
from ramshare_lab.cluster.spec import LabSpec, address_of
from ramshare_lab.cluster.vm import Vm
from ramshare_lab.cluster.vm_spec import VmSpec, qemu_argv

TOOLS = ("ip", "nft", "nsenter", "setsid", "cpio", "busybox", "qemu-system-x86_64", "mosquitto", "prlimit")
HOST_TOOLS = ("tgtd", "tgtadm", "iscsid", "iscsiadm", "lvs", "dmsetup", "fio", "modprobe", "swapon", "losetup")
"""Used inside: by the lenders and by the VMs, which see this machine's own programs."""

Progress = Callable[[str], None]


class Lab:
    """A running cluster. Not re-entrant: make a new one for each `with`."""

    def __init__(self, spec: LabSpec, progress: Progress = lambda _: None) -> None:
        self.spec = spec
        self.runner = SystemRunner()
        self._premises = Premises(spec.name, self.runner, progress)
        self.vms: dict[str, Vm] = {}
        self.agents: dict[str, AgentProcess] = {}
        self.hosts: dict[str, SystemRunner] = {}
        """A runner for each native host (lenders that are no VMs)."""
        self.leftovers: list[str] = []
        """What could not be removed at the end, one sentence each."""
        self._say = progress
        self._network: Network | None = None
        self._broker: RunningBroker | None = None
        self.libvirt: LibvirtHost | None = None
        """The guests' libvirtd, if the lab has one."""
        self.accel = spec.accel
        """`kvm` or `tcg`, known once the lab has started."""
        self.boot_s: dict[str, float] = {}
        """Seconds from QEMU's start until each VM took commands."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        if self.leftovers and error is None:
            raise LeftoverError("; ".join(self.leftovers), "ramshare lab clean")

    @property
    def state_dir(self) -> Path:
        """The lab's directory on this machine: logs, sockets, RAM file systems, what VMs keep."""
        return self._premises.state_dir

    @property
    def network(self) -> Network:
        """Its `cut` and `mend` make link faults."""
        assert self._network is not None, "the lab has not been started"
        return self._network

    @property
    def broker(self) -> RunningBroker:
        """Its `kill`, `stop` and `start` make broker faults; `settings(client)` is what a bus client needs."""
        assert self._broker is not None, "the lab has not been started"
        return self._broker

    @property
    def borrower(self) -> Vm:
        """The first borrower's VM."""
        return self.vms[self.spec.borrower_names[0]]

    def start(self) -> None:
        """Bring everything up. Raises what is missing as `MissingPartError`, before anything is started."""
        require_root("the lab")
        require_tools([*TOOLS, *HOST_TOOLS])
        if self.spec.libvirt:
            require_libvirt()
        kernel = ensure_kernel(self.runner, cache_dir(), self._say)
        initramfs = ensure_initramfs(self.runner, kernel, cache_dir())
        self.accel = self.spec.accel or pick_accel(self.runner, kernel, cache_dir(), self._say)
        # A VM keeps no byte code and compiles slowly, so that it should find everything compiled. Takes 0.1 s if it is.
        for package in ("ramshare", "ramshare_lab"):
            compileall.compile_dir(PACKAGE_ROOT / package, quiet=2)
        self._premises.open()
        self._say("network and broker")
        self._start_network()
        self._start_broker()
        if self.spec.libvirt:
            self._say("libvirt")
            self.libvirt = LibvirtHost(self.state_dir / "libvirt", self.runner, self._premises.journal)
            self.libvirt.start()
        for spec in vm_specs(self.spec, self.state_dir, self._premises.disks_dir, self.network.add_tap):
            spec.state_dir.mkdir(parents=True)
            self.vms[spec.name] = vm = self._machine(spec, kernel, initramfs)
            vm.start()
            if vm.pid is not None:
                self._premises.journal.record_process(vm.pid, spec.name)
        self._prepare_agents()
        if self.spec.agents:
            for agent in self.agents.values():
                if isinstance(agent, NativeAgent):
                    agent.start()
        self._await_vms()

    def _machine(self, spec: VmSpec, kernel: Kernel, initramfs: Path) -> Vm:
        if self.libvirt is not None and spec.name in self.spec.guest_names:
            return LibvirtVm(spec, domain_xml(spec, kernel, initramfs, self.accel), self.libvirt, self.runner)
        return Vm(spec, qemu_argv(spec, kernel, initramfs, self.accel), self.runner)

    def _await_vms(self) -> None:
        if self.vms:
            how = "with KVM" if self.accel == "kvm" else "in emulation"
            self._say(f"booting {len(self.vms)} virtual machines {how}")
        started = time.monotonic()
        for name, vm in self.vms.items():
            vm.wait_ready()
            self.boot_s[name] = time.monotonic() - started
            self._say(f"{name} is up after {self.boot_s[name]:.0f} s")
            if self.spec.agents:
                self.start_agents_on(name)

    def stop(self) -> None:
        """Take everything down; afterwards `leftovers` says what could not be. Idempotent."""
        if self._network is not None:
            self._network.leave()
        self.leftovers = self._premises.close() or self.leftovers

    def start_agents_on(self, name: str) -> None:
        """Start the agents that belong into VM `name`, for example after its reset."""
        for agent in self.agents.values():
            if isinstance(agent, VmAgent) and agent.spec.host == name:
                agent.start()

    def log_path(self, client: str) -> Path:
        """Return the log of an agent."""
        vm = self.vms.get(client.rpartition(".")[2])
        return vm.spec.persist_dir / "log" / f"{client}.log" if vm else self.state_dir / "log" / f"{client}.log"

    def _start_network(self) -> None:
        self._network = Network(self.spec.name, self.runner, self._premises.journal)
        self._network.create()
        for name in self.spec.lender_names:
            if name in self.spec.vm_lender_names:
                continue
            self.hosts[name] = self._network.add_host(name, address_of(name))
        self._network.enter()

    def _start_broker(self) -> None:
        self._broker = start_broker(
            self.runner,
            self.state_dir / "broker",
            self.spec.clients,
            host=SWITCH_ADDRESS,
            port=HOSTS_PORT,
            guests_port=GUESTS_PORT,
            die_with_parent=False,
        )

    def _prepare_agents(self) -> None:
        hypervisor = self.libvirt.uri if self.libvirt is not None else ""
        for spec in agent_specs(self.spec, self.state_dir, self.broker.settings, hypervisor):
            vm = self.vms.get(spec.host)
            if vm is not None:
                bundle = self.broker.tls_directory(spec.name)
                shutil.copytree(bundle, vm.spec.persist_dir / TLS_IN_VM.name, dirs_exist_ok=True)
                self.agents[spec.name] = VmAgent(spec, vm.shell)
            else:
                runner = self.hosts.get(spec.host, self.runner)
                self.agents[spec.name] = NativeAgent(spec, runner, self.log_path(spec.name), self._premises.journal)
