"""The lab's network: one namespace that is the switch, one per native host, a tap per VM, and links that can be cut.

Everything lives in namespaces that carry the lab's name, so the machine's own network is untouched and two labs can run
side by side. The orchestrating process enters the switch's namespace and so reaches every address of its lab.
"""

import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.run import Runner, SystemRunner, require_tools
from ramshare_lab.cluster.journal import Journal
from ramshare_lab.cluster.vmagent import PORT as VMAGENT_PORT

BRIDGE = "br0"
SWITCH_ADDRESS = "10.77.0.1"
PREFIX_LENGTH = 24
MTU = 9000
"""Jumbo frames, as one would use between storage hosts; under emulation they also spare the VM most interrupts."""

CLONE_NEWNET = 0x40000000
NETNS_DIR = Path("/run/netns")


class NetworkError(RamshareError):
    """A namespace could not be entered, or a host is not part of this lab."""


@dataclass(frozen=True)
class Cut:
    """A fault on `host`'s link: everything, or only what concerns one peer, or one TCP port, or both."""

    host: str
    peer: str = ""
    port: int = 0


def ruleset(cuts: Iterable[Cut], addresses: dict[str, str]) -> str:
    """Return the nftables script that puts exactly `cuts` in force. The VMs' command servers stay reachable."""
    drops = [drop for cut in cuts for drop in _drops(cut, addresses)]
    rules = "\n".join([f"  tcp sport {VMAGENT_PORT} accept", f"  tcp dport {VMAGENT_PORT} accept", *drops])
    chains = "".join(
        f" chain {hook} {{\n  type filter hook {hook} priority 0; policy accept;\n{rules}\n }}\n"
        for hook in ("prerouting", "output")
    )
    return f"table bridge ramshare\ndelete table bridge ramshare\ntable bridge ramshare {{\n{chains}}}\n"


def _drops(cut: Cut, addresses: dict[str, str]) -> list[str]:
    here = addresses[cut.host]
    there = addresses[cut.peer] if cut.peer else ""
    ways = [
        f"ip saddr {here}" + (f" ip daddr {there}" if there else ""),
        f"ip daddr {here}" + (f" ip saddr {there}" if there else ""),
    ]
    ends = [f" tcp dport {cut.port}", f" tcp sport {cut.port}"] if cut.port else [""]
    return [f"  {way}{end} drop" for way in ways for end in ends]


class Network:
    """The namespaces and links of one lab. `create`, `add_host`, `add_tap` build them; the journal takes them down."""

    def __init__(self, lab: str, run: Runner, journal: Journal) -> None:
        require_tools(["ip", "nft", "nsenter"])
        self._lab = lab
        self._run = run
        self._journal = journal
        self._home: int | None = None
        self._cuts: set[Cut] = set()
        self.addresses: dict[str, str] = {"switch": SWITCH_ADDRESS}
        """Address of every host and VM by name; `switch` is where broker and manager are."""

    @property
    def switch(self) -> str:
        """Name of the switch's namespace."""
        return self.namespace("switch")

    def namespace(self, host: str) -> str:
        """Return the namespace's name of a native host."""
        return f"ramshare-{self._lab}-{host}"

    def create(self) -> None:
        """Make the switch: its bridge, with an address of its own, for broker, manager and orchestrator."""
        self._add_namespace(self.switch)
        self._ip(self.switch, "link", "add", BRIDGE, "mtu", str(MTU), "type", "bridge", "mcast_snooping", "0")
        self._ip(self.switch, "address", "add", f"{SWITCH_ADDRESS}/{PREFIX_LENGTH}", "dev", BRIDGE)
        self._ip(self.switch, "link", "set", BRIDGE, "up")

    def add_host(self, host: str, address: str) -> SystemRunner:
        """Give a native host its namespace, link and address; return a runner whose commands run there."""
        name = self.namespace(host)
        self._add_namespace(name)
        port = f"h-{host}"
        veth = ["link", "add", port, "mtu", str(MTU), "type", "veth"]
        self._ip(self.switch, *veth, "peer", "name", "eth0", "mtu", str(MTU), "netns", name)
        self._ip(self.switch, "link", "set", port, "master", BRIDGE, "up")
        self._ip(name, "address", "add", f"{address}/{PREFIX_LENGTH}", "dev", "eth0")
        self._ip(name, "link", "set", "eth0", "up")
        self.addresses[host] = address
        return self.runner(host)

    def add_tap(self, vm: str, address: str) -> str:
        """Make the tap device that `vm` plugs into and return its name."""
        tap = f"t-{vm}"
        self._ip(self.switch, "tuntap", "add", tap, "mode", "tap", "vnet_hdr")
        self._ip(self.switch, "link", "set", tap, "mtu", str(MTU), "master", BRIDGE, "up")
        self.addresses[vm] = address
        return tap

    def runner(self, host: str) -> SystemRunner:
        """Return a runner for commands on a native host. They share this machine's mounts."""
        return SystemRunner(("nsenter", f"--net={NETNS_DIR / self.namespace(host)}", "--"))

    def enter(self) -> None:
        """Move this thread, and what it starts from now on, onto the switch."""
        if self._home is None:
            self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            with (NETNS_DIR / self.switch).open("rb") as target:
                set_namespace(target.fileno())

    def leave(self) -> None:
        """Move this thread back to the machine's own network."""
        if self._home is not None:
            home, self._home = self._home, None
            set_namespace(home)
            os.close(home)

    def cut(self, host: str, *, peer: str = "", port: int = 0) -> None:
        """Drop what goes to and from `host`, silently, as a pulled cable or a lost route does.

        `peer` (a host, a VM or `switch`) and `port` (TCP, on either side) narrow it down. Raises `NetworkError` for a
        name that this lab does not have.
        """
        self._change(self._cuts | {Cut(host, peer, port)})

    def mend(self, host: str, *, peer: str = "", port: int = 0) -> None:
        """Undo `cut` with the same arguments; without any but `host`, all cuts of that host."""
        gone = {Cut(host, peer, port)} if peer or port else {cut for cut in self._cuts if cut.host == host}
        self._change(self._cuts - gone)

    def _change(self, cuts: set[Cut]) -> None:
        for name in {name for cut in cuts for name in (cut.host, cut.peer) if name}:
            if name not in self.addresses:
                raise NetworkError(f"no host {name} in lab {self._lab}", f"there are {', '.join(self.addresses)}")
        script = ruleset(sorted(cuts, key=repr), self.addresses)
        self._run.run(["nsenter", f"--net={NETNS_DIR / self.switch}", "--", "nft", "-f", "-"], stdin=script)
        self._cuts = cuts

    def _add_namespace(self, name: str) -> None:
        self._journal.record("namespace", name=name)
        self._run.run(["ip", "netns", "add", name])
        self._ip(name, "link", "set", "lo", "up")

    def _ip(self, namespace: str, *arguments: str) -> None:
        self._run.run(["ip", "-n", namespace, *arguments])


def set_namespace(descriptor: int) -> None:
    """Move this thread into a network namespace. Raises `NetworkError`."""
    # os.setns exists from Python 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise NetworkError(f"cannot change the network namespace: {os.strerror(ctypes.get_errno())}", "run as root")
