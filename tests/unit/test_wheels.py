"""What administrators install holds neither lab nor benches and runs every agent; the lab's own wheel is whole."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from ramshare.errors import ExitCode

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
LAB = ROOT / "agents" / "ramshare_lab"
ROLES = ("monitor", "lender", "manager", "borrower")
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(("numpy", "pyarrow", "matplotlib", "libvirt")))  # as where they are not installed
import ramshare
for module in pkgutil.walk_packages(ramshare.__path__, "ramshare."):
    importlib.import_module(module.name)
assert "ramshare_lab" not in sys.modules
print(ramshare.__file__)
"""


def build(project: Path, directory: Path) -> Path:
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(argv, cwd=project, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    return wheel


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as packed:
        return packed.namelist()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's wheel."""
    return build(ROOT, tmp_path_factory.mktemp("product"))


@pytest.fixture(scope="module")
def installed(product: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with that wheel installed, and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*argv, str(product)], check=True, capture_output=True)
    return target


def run(installed: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run Python on what is installed and on its dependencies; without `site` no checkout is found."""
    path = os.pathsep.join([str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": path,
        "RAMSHARE_ENV_FILE": "/nonexistent",
        "RAMSHARE_HOST": "hosta",
        "RAMSHARE_BROKER_INSECURE": "1",  # no certificate is needed to be started
    }
    return subprocess.run(
        [sys.executable, "-S", "-P", *args], env=env, cwd=installed, capture_output=True, text=True, check=False
    )


def test_the_products_wheel_holds_the_product_only(product: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(product)}
    assert {top.partition("-")[0] for top in tops} == {"ramshare"}
    assert {top for top in tops if "-" not in top} == {"ramshare"}
    assert [name for name in names_in(product) if "lab" in name.split("/")[1:2] or "bench" in name] == []


def test_every_module_of_the_product_is_there_and_needs_no_lab(product: Path, installed: Path) -> None:
    here = {str(path.relative_to(ROOT / "agents")) for path in (ROOT / "agents" / "ramshare").rglob("*.py")}
    assert here == {name for name in names_in(product) if name.endswith(".py")}
    done = run(installed, "-c", IMPORT_ALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == installed / "ramshare" / "__init__.py"


def test_without_the_lab_its_commands_say_how_to_get_it(installed: Path) -> None:
    done = run(installed, "-m", "ramshare.cli.main", "lab", "demo")
    assert done.returncode == ExitCode.MISSING_PART
    assert "pip install ramshare-lab" in done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_every_agent_starts_from_the_wheel(installed: Path, role: str) -> None:
    agent = str(installed / "bin" / "ramshare-agent")
    assert run(installed, agent, "--help").returncode == 0
    done = run(installed, agent, role, "--check")
    assert "Traceback" not in done.stderr
    if role in ("monitor", "manager"):
        assert done.returncode == ExitCode.OK, done.stderr
    else:  # whether this machine can lend or borrow is not the wheel's matter
        assert done.returncode in (ExitCode.OK, ExitCode.FAILED, ExitCode.MISSING_PART), done.stderr


def test_the_labs_wheel_holds_its_package_with_scripts_and_the_benchmarks_source(tmp_path: Path) -> None:
    names = {name for name in names_in(build(LAB, tmp_path)) if ".dist-info/" not in name}
    files = {path for kind in ("py", "sh", "c") for path in LAB.rglob(f"*.{kind}")}
    assert names == {str(path.relative_to(LAB.parent)) for path in files}
    assert {"ramshare_lab/cluster/vm_init.sh", "ramshare_lab/load/thrash.c"} <= names
