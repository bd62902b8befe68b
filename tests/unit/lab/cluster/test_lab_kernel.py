"""The kernel comes from the cache when it is whole there, and its modules load in an order that works."""

import gzip
import lzma
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.errors import MissingPartError
from ramshare.linux.run import Completed
from ramshare_lab.cluster.kernel import Kernel, elf_in, ensure_kernel, load_order

pytestmark = pytest.mark.unit

PACKAGE = "linux-image-6.1.0-1-amd64"
VERSION = "6.1.0-1-amd64"
DEPENDENCIES = """\
kernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/ring.ko
kernel/net/9p/9pnet.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/ring.ko
kernel/drivers/virtio/ring.ko:
kernel/drivers/md/dm-mirror.ko: kernel/drivers/md/dm-mod.ko
kernel/drivers/md/dm-mod.ko:
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "modules.dep").write_text(DEPENDENCIES)
    (tmp_path / "modules.builtin").write_text("kernel/fs/tmpfs.ko\n")
    return tmp_path


def boot_image(payload: bytes) -> bytes:
    """A boot image as far as its header is read: one setup sector, then the payload."""
    header = bytearray(1024)
    header[0x1F1] = 1
    header[0x202:0x206] = b"HdrS"
    header[0x248:0x24C] = (16).to_bytes(4, "little")
    header[0x24C:0x250] = len(payload).to_bytes(4, "little")
    return bytes(header) + b"\0" * 16 + payload + b"trailer"


def test_everything_a_module_needs_is_loaded_before_it(modules: Path) -> None:
    names = [path.name for path in load_order(modules, ["9pnet_virtio", "dm-mirror"])]
    assert names == ["ring.ko", "virtio.ko", "9pnet.ko", "9pnet_virtio.ko", "dm-mod.ko", "dm-mirror.ko"]


def test_dashes_and_underscores_in_names_are_the_same_and_nothing_is_loaded_twice(modules: Path) -> None:
    assert [path.name for path in load_order(modules, ["dm_mod", "dm_mirror"])] == ["dm-mod.ko", "dm-mirror.ko"]


def test_a_built_in_module_needs_no_file(modules: Path) -> None:
    assert load_order(modules, ["tmpfs"]) == []


def test_a_module_that_the_kernel_lacks_is_named(modules: Path) -> None:
    with pytest.raises(MissingPartError, match="no module 9p_rdma"):
        load_order(modules, ["9p_rdma"])


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_the_kernel_proper_is_taken_out_of_its_boot_image(pack: object) -> None:
    elf = b"\x7fELF" + bytes(1000)
    assert callable(pack)
    assert elf_in(boot_image(pack(elf) + len(elf).to_bytes(4, "little"))) == elf


@pytest.mark.parametrize(
    "image", [b"", bytes(2048), boot_image(b"\x28\xb5\x2f\xfdzstd"), boot_image(b"\xfd7zXZ-broken")]
)
def test_an_image_that_cannot_be_unpacked_is_booted_as_it_is(image: bytes) -> None:
    assert elf_in(image) is None


def download(cache: Path, whole: bool) -> FakeRunner:
    """A runner whose `dpkg-deb` and `depmod` write what the real ones would."""

    def unpack(argv: tuple[str, ...]) -> None:
        tree = Path(argv[-1])
        (tree / "boot").mkdir(parents=True)
        (tree / "boot" / f"vmlinuz-{VERSION}").write_bytes(b"kernel")
        (tree / "lib" / "modules" / VERSION).mkdir(parents=True)

    def depmod(argv: tuple[str, ...]) -> Completed | None:
        if not whole:
            return Completed(argv, 1, "", "depmod: interrupted")
        (Path(argv[2]) / "lib" / "modules" / VERSION / "modules.dep").write_text("")
        return None

    def fetch(argv: tuple[str, ...]) -> None:
        (Path(argv[2]) / f"{PACKAGE}.deb").write_bytes(b"deb")

    runner = FakeRunner()
    runner.on("apt-cache", "depends", "linux-image-amd64", stdout=f"linux-image-amd64\n  Depends: {PACKAGE}\n")
    runner.handle("env", "-C", "*", "apt-get", ..., handler=fetch)
    runner.handle("dpkg-deb", ..., handler=unpack)
    runner.handle("depmod", ..., handler=depmod)
    return runner


def test_a_kernel_is_downloaded_once(tmp_path: Path) -> None:
    runner = download(tmp_path, whole=True)
    first = ensure_kernel(runner, tmp_path)
    calls = len(runner.calls)
    assert ensure_kernel(runner, tmp_path) == first == Kernel(VERSION, tmp_path / PACKAGE)
    assert len(runner.calls) == calls


def test_a_download_that_was_interrupted_is_never_taken_for_a_kernel(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="depmod"):
        ensure_kernel(download(tmp_path, whole=False), tmp_path)
    assert not (tmp_path / PACKAGE).exists()
    assert ensure_kernel(download(tmp_path, whole=True), tmp_path).version == VERSION


def test_an_apt_that_does_not_know_the_kernel_names_the_next_step(tmp_path: Path) -> None:
    runner = FakeRunner().on("apt-cache", ..., returncode=100, stderr="E: No packages found")
    with pytest.raises(MissingPartError) as caught:
        ensure_kernel(runner, tmp_path)
    assert caught.value.hint == "apt-get update"
