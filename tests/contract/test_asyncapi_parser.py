"""The AsyncAPI document is valid to the AsyncAPI project's own parser (npm `@asyncapi/parser`), not only to us.

The parser is installed once into the user's cache directory, never into the repository.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ramshare.contract import asyncapi as contract
from ramshare.topics import REQUESTS

pytestmark = [pytest.mark.unit, pytest.mark.timeout(600)]

PARSER = "@asyncapi/parser@3"


@pytest.fixture(scope="session")
def installed() -> Path:
    """Directory whose node_modules holds the parser; installed on first use (about 30 s, 55 MB)."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("NODE IS MISSING, SO THE ASYNCAPI DOCUMENT WAS NOT VALIDATED: apt-get install nodejs npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ramshare-tests" / "asyncapi"
    if not (cache / "node_modules" / "@asyncapi" / "parser" / "package.json").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--prefix", str(cache), "--no-save", "--no-package-lock", "--no-audit", PARSER]
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=500)
    return cache


def validated(document: dict[str, Any], directory: Path, installed: Path) -> dict[str, Any]:
    path = directory / "document.json"
    path.write_text(json.dumps(document))
    script = Path(__file__).with_name("validate_asyncapi.mjs")
    done = subprocess.run(
        ["node", str(script), str(path), str(installed)], check=True, capture_output=True, text=True, timeout=100
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_document_is_valid_and_its_operations_are_understood(tmp_path: Path, installed: Path) -> None:
    result = validated(contract.asyncapi(), tmp_path, installed)
    assert result["problems"] == []
    assert result["valid"]
    assert result["operations"] == len(contract.asyncapi()["operations"])
    assert result["withReply"] == len(REQUESTS) - 1  # a broadcast has none


def test_the_validator_would_have_noticed(tmp_path: Path, installed: Path) -> None:
    document = contract.asyncapi()
    document["operations"]["ask_manager_borrow"]["channel"]["$ref"] = "#/channels/nowhere"
    assert validated(document, tmp_path, installed)["problems"]
