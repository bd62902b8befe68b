"""Enter the network of a lab that somebody else runs, for a command from another terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare_lab.cluster.netns import NETNS_DIR, set_namespace
from ramshare_lab.cluster.reaper import LABS_DIR


@contextmanager
def visit(name: str) -> Iterator[Path]:
    """Move this thread onto the lab's switch for the time of the block; gives the lab's state directory."""
    namespace = NETNS_DIR / f"ramshare-{name}-switch"
    if not namespace.exists():
        running = [path.name for path in LABS_DIR.glob("*")] if LABS_DIR.is_dir() else []
        hint = f"running: {', '.join(running)}; choose with --name" if running else "start one: ramshare lab up"
        raise RamshareError(f"no lab named {name} runs", hint)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with namespace.open("rb") as target:
            set_namespace(target.fileno())
        yield LABS_DIR / name
    finally:
        set_namespace(home)
        os.close(home)
