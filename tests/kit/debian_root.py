"""A clean Debian 12 as a directory, made by debootstrap: what README's commands are tried on.

The lab's other virtual machines boot this machine's own root, where everything is installed already. Here nothing is
but what an administrator's machines have. Made once and kept outside the repository: the root, and what the network
would have to bring while README is followed (Debian's packages in apt's cache, wheels in a directory).
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ramshare.linux.run import Runner, require_tools
from ramshare_lab.cluster.kernel import locked

RELEASE = "bookworm"
INSTALLED = (
    *("systemd", "systemd-sysv", "udev", "dbus", "iproute2", "kmod", "python3", "ca-certificates"),
    *("openssh-server", "openssh-client"),
)
"""What an installed Debian has and debootstrap's smallest variant leaves out; Python for the lab's way in."""
FETCHED = ("pipx", "mosquitto", "mosquitto-clients", "nftables", "tgt", "open-iscsi", "lvm2", "cryptsetup-bin")
"""Debian packages that README may name: downloaded in advance, not installed."""
WHEELS_DIR = "var/cache/ramshare-wheels"
FETCH_TIMEOUT_S = 900.0
INSTALL_TIMEOUT_S = 600.0

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C",
    "HOME": "/root",
    "PATH": _PATH,
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": f"/{WHEELS_DIR}",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
_APT = 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n'


def ensure_debian(run: Runner, cache: Path) -> Path:
    """Return a clean root in the cache, making it the first time (three minutes). Nobody may write into it."""
    require_tools(["debootstrap", "chroot"])
    recipe = repr((RELEASE, INSTALLED, FETCHED, _APT))
    root = cache / f"debian-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with locked(cache):
        if root.exists():
            return root
        with tempfile.TemporaryDirectory(dir=cache, prefix=".debian-") as work:
            fresh = Path(work) / "root"
            argv = ["debootstrap", "--variant=minbase", f"--include={','.join(INSTALLED)}", RELEASE, str(fresh)]
            run.run(argv, timeout_s=FETCH_TIMEOUT_S)
            (fresh / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
            # Nobody loses anything if this machine dies in between: dpkg need not wait for the disk.
            (fresh / "etc/dpkg/dpkg.cfg.d/lab").write_text("force-unsafe-io\n")
            (fresh / "etc/apt/apt.conf.d/lab").write_text(_APT)
            in_root(run, fresh, ["apt-get", "update", "-qq"], FETCH_TIMEOUT_S)
            in_root(run, fresh, ["apt-get", "install", "-qq", "--download-only", *FETCHED], FETCH_TIMEOUT_S)
            fresh.rename(root)
    return root


def ensure_wheels(run: Runner, cache: Path, project: Path) -> Path:
    """Return a directory of wheels of what the product needs to be built and run, downloaded the first time."""
    recipe = hashlib.sha256((project / "pyproject.toml").read_bytes()).hexdigest()[:16]
    wheels = cache / f"wheels-{recipe}"
    with locked(cache):
        if wheels.exists():
            return wheels
        with tempfile.TemporaryDirectory(dir=cache, prefix=".wheels-") as work:
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", f"{work}/wheels"]
            argv += ["hatchling", "pip", "setuptools", "wheel", f"{project}[broker,host]"]
            run.run(argv, timeout_s=FETCH_TIMEOUT_S)
            Path(work, "wheels").rename(wheels)
    return wheels


def clone(run: Runner, clean: Path, place: Path, wheels: Path) -> Path:
    """Return a copy of the clean root at `place` that may be written to, the wheels in it."""
    run.run(["cp", "-a", "--reflink=auto", str(clean), str(place)], timeout_s=INSTALL_TIMEOUT_S)
    shutil.copytree(wheels, place / WHEELS_DIR)
    return place


def in_root(run: Runner, root: Path, argv: Sequence[str], timeout_s: float = INSTALL_TIMEOUT_S) -> str:
    """Run a command in the root, at this machine's own speed, and return what it printed. pip sees the wheels only."""
    environment = [f"{key}={value}" for key, value in _ENVIRONMENT.items()]
    done = run.run(["chroot", str(root), "/usr/bin/env", "-i", *environment, *argv], timeout_s=timeout_s)
    return done.stdout + done.stderr
