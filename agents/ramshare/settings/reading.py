"""Reads settings from the environment and a file of variables, and finds what looks like one and is none."""

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import (
    ValidationError,
)

from ramshare.settings.agents import BorrowerSettings, HostSettings, LenderLabSettings, LenderSettings, ManagerSettings
from ramshare.settings.base import Settings, SettingsError
from ramshare.settings.broker import BrokerSettings

DEFAULT_ENV_FILE = "/etc/ramshare/ramshare.env"
_LINE = re.compile(
    r"""\s*(?:export\s+)?(?P<name>\w+)\s*=\s*(?:'(?P<one>[^']*)'|"(?P<two>[^"]*)"|(?P<bare>.*?))\s*(?:\s#.*)?"""
)
"""`NAME=value` as systemd and shells write it: quotes are taken off, a comment may follow."""

S = TypeVar("S", bound="Settings")


KINDS: tuple[type[Settings], ...] = (
    BrokerSettings,
    HostSettings,
    LenderSettings,
    LenderLabSettings,
    BorrowerSettings,
    ManagerSettings,
)
OTHER_VARIABLES = frozenset({"RAMSHARE_ENV_FILE"})
LAB_PREFIX = "RAMSHARE_LAB_"
_NO_NAME = "use letters, digits, - and _, in parts that dots separate and that begin with a letter or digit"


def _env_file() -> str:
    return os.environ.get("RAMSHARE_ENV_FILE", DEFAULT_ENV_FILE)


def load(kind: type[S]) -> S:
    """Read settings of one kind: the environment goes before the file.

    Raises `SettingsError` naming the variable and what is wrong with it.
    """
    given: Mapping[str, str] = {**read_env_file(Path(_env_file())), **os.environ}
    values: dict[str, Any] = {
        name: given[v] for name in kind.model_fields if (v := kind.PREFIX + name.upper()) in given
    }
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        variable = kind.PREFIX + str(first["loc"][0]).upper() if first["loc"] else kind.PREFIX
        if not first["loc"]:  # of several settings together
            raise SettingsError(first["msg"], f"look into the environment and {_env_file()}") from error
        wrong = _NO_NAME if first["type"] == "string_pattern_mismatch" else first["msg"]
        raise SettingsError(
            f"{variable}: {str(first['input'])[:80]!r}: {wrong}", f"look into the environment and {_env_file()}"
        ) from error


def unknown_variables() -> dict[str, str]:
    """Return variables that look like ours and are none, each with the setting that may be meant, or nothing.

    Of the environment those that begin with `RAMSHARE_` count, and there and in the file those that nearly read like a
    setting of ours.
    """
    import difflib  # once, and not in the memory of every command

    known = {kind.PREFIX + name.upper() for kind in KINDS for name in kind.model_fields} | OTHER_VARIABLES
    found = {}
    for name in sorted({*os.environ, *read_env_file(Path(_env_file()))} - known):
        if name.startswith(LAB_PREFIX):
            continue
        alike = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
        if name.upper().startswith("RAMSHARE_") or alike:
            found[name] = alike[0] if alike else ""
    return found


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file; none if it is absent. Raises `SettingsError` for a line that says nothing."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}") from error
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            # The line is not quoted: it may hold what nobody should read in a log.
            raise SettingsError(f"{path}, line {number}: not NAME=value")
        found[match["name"]] = next(v for v in (match["one"], match["two"], match["bare"]) if v is not None)
    return found


def default_operator() -> str:
    """Return the client name of the person at the keyboard: `cli.<user>`."""
    return f"cli.{getpass.getuser()}"
