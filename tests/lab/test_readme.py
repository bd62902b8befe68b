"""README's "On a real cluster", command by command as it stands there, on clean Debian 12 machines that systemd runs.

What is otherwise than README says:

- Packages: lines that begin with `apt-get` or `PIPX_HOME=` run in a machine's root before it boots, since emulation
  takes twenty times as long; apt finds Debian's packages in its cache, pip its wheels in a directory
  (`kit.debian_root`). apt is told to answer yes and to leave recommended packages out.
- One machine is the brokers' machine and host A at once.
- The machines' installer has left a volume group `vg0` on host X, and root may log in from one to another by a key.
- Sizes and times, in `kit.readme.INSTEAD`: the machines have less than a GiB of memory.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from kit.debian_root import clone, ensure_debian, ensure_wheels, in_root
from kit.debian_vm import DebianSpec, DebianVm
from kit.readme import EVERYWHERE, PLACES, Block, commands_for_small_machines, is_installer
from ramshare.linux.run import SystemRunner, find_tool
from ramshare_lab.cluster.accel import pick_accel
from ramshare_lab.cluster.broker import free_port
from ramshare_lab.cluster.initramfs import ensure_initramfs
from ramshare_lab.cluster.kernel import cache_dir, ensure_kernel
from ramshare_lab.cluster.vm_spec import MIB

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="a Debian of one's own needs root"),
    pytest.mark.skipif(find_tool("debootstrap") is None, reason="not installed: debootstrap"),
]

PROJECT = Path(__file__).resolve().parents[2]
CHECKOUT = "root/ramshare"
ADDRESSES = {"hosta": ("10.0.0.5", "10.0.0.11"), "hostx": ("10.0.0.12",), "web1": ("10.0.0.21",)}
MEMORY_BYTES = {"hosta": 832 * MIB, "hostx": 512 * MIB, "web1": 320 * MIB}
BLOCK_S = 900.0
"""Usually a minute; other machines may run beside these."""
SERVICES = {
    "hosta": ("broker@hosts", "broker@guests", "broker-guard", "manager", "lender"),
    "hostx": ("borrower",),
    "web1": ("monitor",),
}

Machines = dict[str, DebianVm]
A = TypeVar("A")
B = TypeVar("B")


@pytest.fixture(scope="module")
def commands() -> list[Block]:
    return commands_for_small_machines()


@pytest.fixture(scope="module")
def roots(commands: list[Block], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A root for each machine, with what README installs there."""
    run, cache, place = SystemRunner(), cache_dir(), tmp_path_factory.mktemp("readme")
    try:
        common = clone(run, ensure_debian(run, cache), place / "common", ensure_wheels(run, cache, PROJECT))
        put_checkout(common)
        let_root_in(common)
        install(common, (block for block in commands if block.where == EVERYWHERE))

        def make(name: str) -> Path:
            run.run(["cp", "-a", "--reflink=auto", str(common), str(place / name)], timeout_s=BLOCK_S)
            install(place / name, (block for block in commands if PLACES.get(block.where) == name))
            return place / name

        yield dict(zip(ADDRESSES, each(make, ADDRESSES), strict=True))
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def machines(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    run, cache, logs = SystemRunner(), cache_dir(), tmp_path_factory.mktemp("machines")
    kernel = ensure_kernel(run, cache)
    initramfs, accel = ensure_initramfs(run, kernel, cache), pick_accel(run, kernel, cache)
    disk, cable = logs / "hostx.disk", free_port()
    with disk.open("wb") as file:
        file.truncate(1024 * MIB)
    hosts = "".join(f"{addresses[-1]} {name}\n" for name, addresses in ADDRESSES.items())
    found: Machines = {}
    try:
        for number, (name, root) in enumerate(roots.items()):
            addresses = tuple(f"{address}/24" for address in ADDRESSES[name])
            own_disk = disk if name == "hostx" else None
            spec = DebianSpec(name, root, number, addresses, MEMORY_BYTES[name], own_disk)
            spec.lay_out(hosts)
            found[name] = DebianVm(spec, logs, free_port(), run)
            found[name].start(kernel, initramfs, accel, cable)
        each(DebianVm.await_boot, found.values())
        type_in(found["hostx"], "vgcreate vg0 /dev/vda")
        yield found
    finally:
        for vm in found.values():
            vm.stop()


def each(do: Callable[[A], B], things: Iterable[A]) -> list[B]:
    """Return what `do` returns for each, all at once."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(do, things))


def put_checkout(root: Path) -> None:
    """What `git clone` would bring."""
    run, place = SystemRunner(), root / CHECKOUT
    place.mkdir()
    files = run.run(["git", "-C", str(PROJECT), "ls-files"]).stdout
    run.run(["tar", "-C", str(PROJECT), "-cf", f"{place}.tar", "--files-from=-"], stdin=files)
    run.run(["tar", "-C", str(place), "-xf", f"{place}.tar"])


def let_root_in(root: Path) -> None:
    """As an administrator has it: root of one machine may log in on another."""
    script = """mkdir -p -m 700 ~/.ssh; cd ~/.ssh
    ssh-keygen -q -t ed25519 -N '' -f id_ed25519; cp id_ed25519.pub authorized_keys
    echo 'StrictHostKeyChecking accept-new' > config"""
    in_root(SystemRunner(), root, ["sh", "-euc", script])


def install(root: Path, found: Iterable[Block]) -> None:
    """Run the lines that install something."""
    for line in (line for block in found for line in block.script.splitlines() if is_installer(line)):
        in_root(SystemRunner(), root, ["sh", "-euc", f"cd /{CHECKOUT}; {line}"])


def type_in(vm: DebianVm, script: str) -> str:
    """Run commands as root types them in the checkout, and return what they print. A failing one ends the test."""
    text = "\n".join(line for line in script.splitlines() if not is_installer(line))
    done = vm.shell.run(["sh", "-c", f"set -eux; cd /{CHECKOUT}\n{text}"], timeout_s=BLOCK_S, ok=range(256))
    print(f"--- on {vm.spec.name}\n{done.stdout}\n{done.stderr}")
    assert done.returncode == 0, f"on {vm.spec.name}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_every_command_of_the_readme_does_what_it_says(machines: Machines, commands: list[Block]) -> None:
    *before, borrowing = [block for block in commands if block.where != EVERYWHERE]
    for block in before:
        type_in(machines[PLACES[block.where]], block.script)
    for name, units in SERVICES.items():
        for unit in units:
            show = ["systemctl", "show", "--value", "-p", "SubState", "-p", "NRestarts", f"ramshare-{unit}"]
            assert set(machines[name].shell.run(show).stdout.split()) == {"running", "0"}, unit
    said = type_in(machines[PLACES[borrowing.where]], borrowing.script)
    assert "attached" in said
    assert "home" in said
