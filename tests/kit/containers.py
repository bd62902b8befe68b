"""A Docker of the tests' own: a daemon with its own state, and Debian's base image made here, not fetched.

The daemon builds in this machine's network and runs in a network namespace, so that its rules (it sets the policy of
forwarded packets) stay there.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ramshare_lab.cluster.kernel import cache_dir

BASE = "debian:bookworm-slim"
START_S = 60.0
TOOLS = ("dockerd", "docker", "docker-compose", "debootstrap")


@dataclass(frozen=True)
class Docker:
    """A running daemon."""

    socket: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment in which `docker` and `docker-compose` speak to it."""
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "COMPOSE_HTTP_TIMEOUT": "300"}

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, within_s: float = 600
    ) -> str:
        """Run a command against it and return what it printed. Raises `AssertionError` with its errors."""
        done = subprocess.run(
            argv,
            env={**self.env, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {(done.stdout + done.stderr)[-3000:]}"
        return done.stdout


@contextlib.contextmanager
def docker(state: Path, within: Sequence[str] = (), options: Sequence[str] = ()) -> Iterator[Docker]:
    """Run a daemon with its images below the tests' cache and everything else in `state`; end it afterwards.

    `within` is a command that starts it elsewhere, for example in a network namespace.
    """
    state.mkdir(parents=True, exist_ok=True)
    here = Docker(state / "docker.sock")
    die_with_us = ["setpriv", "--pdeathsig", "TERM", "--"]
    argv = [
        *within,
        *die_with_us,
        "dockerd",
        "--host",
        f"unix://{here.socket}",
        "--data-root",
        str(cache_dir() / "docker"),
    ]
    argv += ["--exec-root", str(state / "exec"), "--pidfile", str(state / "docker.pid"), *options]
    with (state / "dockerd.log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as daemon:
        try:
            _await(here, daemon, state / "dockerd.log")
            yield here
        finally:
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
            _unmount_below(state)


def _unmount_below(state: Path) -> None:
    """The daemon leaves its network namespaces mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        if (place := line.split(" ")[1]).startswith(f"{state}/"):
            subprocess.run(["umount", place], check=True, capture_output=True)


def _await(here: Docker, daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while subprocess.run(["docker", "info"], env=here.env, capture_output=True, check=False).returncode != 0:
        assert daemon.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)


def ensure_base(here: Docker, work: Path) -> None:
    """Have Debian's base image under its usual name: made by debootstrap, with this machine's ways to its packages."""
    if here.run("docker", "image", "ls", "--quiet", BASE).strip():
        return
    root = work / "base"
    try:
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root)],
            check=True,
            capture_output=True,
            timeout=600,
        )
        for path in ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf", "etc/apt/sources.list"):
            if Path("/", path).is_file():
                shutil.copy(Path("/", path), root / path)
        for source in Path("/etc/apt/sources.list.d").glob("*.sources"):
            shutil.copy(source, root / "etc/apt/sources.list.d")
        archive = work / "base.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        here.run("docker", "import", str(archive), BASE)
    finally:
        shutil.rmtree(root, ignore_errors=True)
