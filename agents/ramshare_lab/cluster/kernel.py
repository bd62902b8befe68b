"""A stock Debian kernel for the lab's virtual machines: downloaded, unpacked, never installed.

The machine's own kernel may lack device mapper, iSCSI or modules at all, so every VM boots Debian's. The package is
what `linux-image-amd64` depends on (the `-cloud-` flavour has no 9p). It stays in the user's cache; a half-finished
download is never mistaken for a kernel because the tree is unpacked beside its place and renamed into it.
"""

import fcntl
import lzma
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ramshare.errors import MissingPartError
from ramshare.linux.run import CommandError, Runner, require_tools

META_PACKAGE = "linux-image-amd64"
DOWNLOAD_TIMEOUT_S = 600.0
UNPACK_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    version: str
    """What `uname -r` says inside, for example `6.1.0-56-amd64`."""
    tree: Path
    """Holds `boot/` and `lib/modules/<version>/`, so that `modprobe -d TREE` works."""

    @property
    def image(self) -> Path:
        """What QEMU loads: the uncompressed kernel if it could be made, else the package's own."""
        return self.unpacked if self.unpacked.exists() else self.packed

    @property
    def packed(self) -> Path:
        """The compressed kernel as it comes in the package."""
        return self.tree / "boot" / f"vmlinuz-{self.version}"

    @property
    def unpacked(self) -> Path:
        """The same as a plain ELF file. Emulation takes 3 s to unpack it at each boot, this machine 0.5 s once."""
        return self.tree / "boot" / f"vmlinux-{self.version}"

    @property
    def modules(self) -> Path:
        """The directory of this version's modules."""
        return self.tree / "lib" / "modules" / self.version


def cache_dir() -> Path:
    """Return where the lab keeps what it can make again: kernel, initramfs, the answer of the accelerator probe."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ramshare" / "lab"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time fill `directory`; the lock goes away with the process."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure_kernel(run: Runner, cache: Path, say: Callable[[str], None] = lambda _: None) -> Kernel:
    """Return the cached kernel, downloading it the first time (70 MB).

    Raises `MissingPartError` when apt does not know the package.
    """
    with locked(cache):
        found = _newest(cache)
        if found is not None:
            return _unpacked(found)
        require_tools(["apt-get", "apt-cache", "dpkg-deb", "depmod"])
        package = _package(run)
        say(f"downloading {package} (70 MB, once)")
        with tempfile.TemporaryDirectory(dir=cache, prefix=".unpack-") as work:
            _fetch(run, package, Path(work))
            (Path(work) / "tree").rename(cache / package)
        found = _newest(cache)
        if found is None:
            raise MissingPartError(f"the package {package} holds no kernel", f"look into {cache / package}")
        return _unpacked(found)


def _unpacked(kernel: Kernel) -> Kernel:
    if not kernel.unpacked.exists():
        image = elf_in(kernel.packed.read_bytes())
        if image is not None:
            half = kernel.unpacked.with_suffix(".half")
            half.write_bytes(image)
            half.rename(kernel.unpacked)
    return kernel


def elf_in(image: bytes) -> bytes | None:
    """Return the ELF kernel inside an x86 boot image, or None if it is packed in a way that Python cannot undo.

    The offsets are those of the Linux x86 boot protocol: `setup_sects`, `payload_offset`, `payload_length`.
    """
    if image[0x202:0x206] != b"HdrS":
        return None
    start = ((image[0x1F1] or 4) + 1) * 512 + int.from_bytes(image[0x248:0x24C], "little")
    payload = image[start : start + int.from_bytes(image[0x24C:0x250], "little")]
    try:
        # Four bytes with the unpacked size follow the compressed stream: a decompressor object ignores them.
        if payload.startswith(b"\xfd7zXZ"):
            elf = lzma.LZMADecompressor().decompress(payload)
        elif payload.startswith(b"\x1f\x8b"):
            elf = zlib.decompressobj(wbits=31).decompress(payload)
        else:
            return None
    except (lzma.LZMAError, zlib.error):
        return None
    return elf if elf.startswith(b"\x7fELF") else None


def _fetch(run: Runner, package: str, work: Path) -> None:
    # apt's own download user cannot write here, and that is only worth a warning to apt.
    argv = ["env", "-C", str(work), "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        run.run(argv, timeout_s=DOWNLOAD_TIMEOUT_S)
    except CommandError as error:
        raise MissingPartError(f"cannot download {package}: {error.message}", "apt-get update") from error
    deb = next(work.glob("*.deb"))
    run.run(["dpkg-deb", "-x", str(deb), str(work / "tree")], timeout_s=UNPACK_TIMEOUT_S)
    version = next((work / "tree" / "lib" / "modules").iterdir()).name
    run.run(["depmod", "-b", str(work / "tree"), version], timeout_s=UNPACK_TIMEOUT_S)


def _package(run: Runner) -> str:
    done = run.run(["apt-cache", "depends", META_PACKAGE], ok=(0, 100))
    match = re.search(r"^\s*\|?Depends: (linux-image-\S+)$", done.stdout, re.MULTILINE)
    if match is None:
        raise MissingPartError(f"apt does not know {META_PACKAGE}", "apt-get update")
    return match[1]


def _newest(cache: Path) -> Kernel | None:
    trees = sorted(cache.glob("linux-image-*"), key=lambda tree: tree.stat().st_mtime, reverse=True)
    for tree in trees:
        for image in (tree / "boot").glob("vmlinuz-*"):
            kernel = Kernel(image.name.removeprefix("vmlinuz-"), tree)
            if (kernel.modules / "modules.dep").is_file():
                return kernel
    return None


def forget(cache: Path) -> None:
    """Throw the cache away, so that the next start fetches what is current."""
    shutil.rmtree(cache, ignore_errors=True)


def load_order(modules: Path, names: Sequence[str]) -> list[Path]:
    """Return the module files to `insmod` for `names`, everything they need first; built-in ones need no file.

    Raises `MissingPartError` for a name that the kernel does not have.
    """
    needs = dict(_dependencies((modules / "modules.dep").read_text().splitlines()))
    by_name = {_name(path): path for path in needs}
    builtin = {_name(line) for line in (modules / "modules.builtin").read_text().splitlines()}
    order: dict[str, None] = {}
    for name in (_name(wanted) for wanted in names):
        if name in builtin:
            continue
        if name not in by_name:
            raise MissingPartError(f"the kernel in {modules} has no module {name}", "the -cloud- flavour does not do")
        path = by_name[name]
        order.update(dict.fromkeys([*reversed(needs[path]), path]))
    return [modules / path for path in order]


def _dependencies(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    for line in lines:
        path, _, rest = line.partition(":")
        yield path, rest.split()


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")
