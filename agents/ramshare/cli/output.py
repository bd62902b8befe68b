"""How the commands talk: consoles, sizes and ages in words, JSON on standard output. Used by every command.

Results go to standard output, everything about the work (progress, warnings, errors) to standard error, so that
`--json` leaves nothing but JSON on standard output.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from ramshare.errors import ExitCode, RamshareError
from ramshare.messages import sizes

PIPE_WIDTH = 160
"""Columns of a table that does not go to a terminal: wide enough for a reason in words."""


class UsageError(RamshareError):
    """An argument that cannot be used."""

    exit_code = ExitCode.USAGE


class PlainConsole(Console):
    """A console on which nothing that came from elsewhere acts: no markup, no emoji codes, no control characters.

    Text is cleaned where every renderable becomes segments, so that no command can forget to.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return the segments of a renderable; Rich's own control codes (cursor, screen) stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(one_line, segment.text.split("\n"))), segment.style)


def out() -> Console:
    """Return the console of results."""
    return _console(stderr=False)


def err() -> Console:
    """Return the console of progress, warnings and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = PlainConsole(stderr=stderr)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def print_json(value: BaseModel | Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write one JSON document; `indent=None` puts it on one line."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(plain, indent=indent, default=str)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")  # the one control character that JSON leaves as it is
    sys.stdout.flush()


def stream_json(value: BaseModel) -> None:
    """Write one JSON document as `print_json` does, but row by row: a line for each, which costs no memory."""
    before = "{"
    for key in type(value).model_fields:
        found = getattr(value, key)
        sys.stdout.write(f"{before}\n{json.dumps(key)}: ")
        if isinstance(found, list):
            between = "["
            for row in found:
                sys.stdout.write(f"{between}\n{_plain(row)}")
                between = ","
            sys.stdout.write("[]" if not found else "\n]")
        else:
            sys.stdout.write(_plain(found))
        before = ","
    sys.stdout.write("\n}\n")
    sys.stdout.flush()


def _plain(value: object) -> str:
    """Return a value, or a row of the model, as JSON on one line."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else to_jsonable_python(value)
    return json.dumps(plain).replace("\x7f", "\\u007f")


def show_error(error: RamshareError, *, as_json: bool = False) -> None:
    """Say what went wrong: one line, red on a terminal, then the hint; with `as_json` also as JSON."""
    console = err()
    console.print(Text(f"error: {one_line(error.message)}", style="bold red"), soft_wrap=True)
    if error.hint:
        console.print(Text(f"try: {one_line(error.hint)}"), soft_wrap=True)
    if as_json:
        code = str(getattr(error, "code", "")) or None
        told = {"exit_code": int(error.exit_code), "code": code, "message": error.message, "hint": error.hint}
        print_json({"error": told})


def note(sentence: str) -> None:
    """Say something about the work that goes on."""
    err().print(Text(one_line(sentence)), soft_wrap=True)


def one_line(text: str) -> str:
    """Return text from elsewhere without line breaks, control characters or marks that turn the line around."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def size(size_bytes: int) -> str:
    """Return bytes in words: `0`, `640 KiB`, `512 MiB`, `1.5 GiB`."""
    if size_bytes == 0:
        return "0"
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size_bytes >= 1 << shift:
            return f"{size_bytes / (1 << shift):.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes} B"


def parse_size(text: str) -> int:
    """Return the bytes that `512M`, `1.5GiB` or `4096` name (powers of 1024). Raises `typer.BadParameter`."""
    try:
        return sizes.parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_duration(text: str, most_s: float) -> float:
    """Return the seconds that `90s`, `10m` or `2h` name. Raises `typer.BadParameter`."""
    try:
        return sizes.parse_duration(text, most_s)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def age(age_s: float | None) -> str:
    """Return a time span in words: `3 s`, `4 min`, `2 h`, `5 d`; `-` where it is not known."""
    if age_s is None:
        return "-"
    for unit, length_s in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if age_s >= 2 * length_s:
            return f"{age_s / length_s:.0f} {unit}"
    return f"{age_s:.0f} s"


def clock(at: datetime) -> str:
    """Return the local time of day of a moment."""
    return at.astimezone().strftime("%H:%M:%S")
