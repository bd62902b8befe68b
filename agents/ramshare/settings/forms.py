"""The forms in which people write settings that are more than a word: guests, volumes, brokers, sizes. Pure."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import (
    AfterValidator,
    BeforeValidator,
    TypeAdapter,
    ValidationError,
)

from ramshare.messages.base import (
    HostName,
    PositiveBytes,
    VolumeName,
)
from ramshare.messages.sizes import parse_size
from ramshare.messages.state import Mode

GUESTS_FORM = 'write {"web1": "2GiB", "web2": "512MiB"} or web1:2GiB,web2:512MiB'
LEAST_GUEST_BYTES = 1 << 20
"""What is smaller is no size of a guest in bytes, but one in another unit."""


def _guests(value: object) -> object:
    """Return name to size, None for one that is not told, from any of the forms in which guests are written."""
    if isinstance(value, str):
        value = _written_guests(value.strip())
    if isinstance(value, list | tuple):
        pairs = [str(entry).partition(":") if isinstance(entry, str) else ("", "", "") for entry in value]
        named = [(name.strip(), size.strip() if colon else None) for name, colon, size in pairs]
        if len({name for name, _ in named}) < len(named):
            raise ValueError("a guest is named twice")
        value = dict(named)
    if not isinstance(value, Mapping):
        raise ValueError(GUESTS_FORM)
    return {name: _guest_size(size) for name, size in value.items()}


def _written_guests(text: str) -> object:
    """Return what a setting's text says: JSON, or `name:size` pairs with commas between."""
    if text[:1] not in ("{", "["):
        pairs = [pair for pair in text.split(",") if pair.strip()]
        if not all(":" in pair for pair in pairs):
            raise ValueError(f"say how large each is: {GUESTS_FORM}")
        return pairs
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON: {GUESTS_FORM}") from None


def _guest_size(size: object) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise ValueError(f"a size is bytes, or text as 2GiB: {GUESTS_FORM}")
    size_bytes = parse_size(size) if isinstance(size, str) else size
    if size_bytes < LEAST_GUEST_BYTES:
        raise ValueError(f"a guest of {size_bytes} bytes is none: {GUESTS_FORM}")
    return size_bytes


def _entries(text: str) -> list[str]:
    """Return what stands between the commas, but for what is empty."""
    return [part.strip() for part in text.split(",") if part.strip()]


class AllowedVolume(NamedTuple):
    """What a borrower may do for a volume by itself."""

    mode: Mode
    most_bytes: int | None = None
    """How much of it at most is borrowed for; None for all."""


AUTO_FORM = "write VG/LV=MODE or VG/LV=MODE:SIZE with commas between, for example vg0/swap=move:2GiB,vg0/web1=mirror"
_VOLUME_NAME: TypeAdapter[str] = TypeAdapter(VolumeName)


def _allowed_volumes(value: object) -> object:
    """Return volume to what is allowed, from text; what is not text passes."""
    if not isinstance(value, str):
        return value
    allowed: dict[str, AllowedVolume] = {}
    for entry in _entries(value):
        volume, equals, rest = (part.strip() for part in entry.partition("="))
        mode, colon, size = (part.strip() for part in rest.partition(":"))
        if not equals or mode not in set(Mode):
            raise ValueError(f"{entry[:80]!r} says no mode, mirror, pair or move: {AUTO_FORM}")
        try:
            _VOLUME_NAME.validate_python(volume)
        except ValidationError:
            raise ValueError(f"{volume[:80]!r} is no volume as lvs shows it: {AUTO_FORM}") from None
        if volume in allowed:
            raise ValueError(f"{volume} is named twice")
        most_bytes = parse_size(size) if colon else None
        if most_bytes is not None and most_bytes < LEAST_GUEST_BYTES:
            raise ValueError(f"{entry[:80]!r}: {most_bytes} bytes are less than a lease: {AUTO_FORM}")
        allowed[volume] = AllowedVolume(Mode(mode), most_bytes)
    return allowed


class GuestAllowance(NamedTuple):
    """What a guest's administrator may have done for the guest's own swap."""

    volume: str
    mode: Mode
    most_bytes: int | None = None
    """How much of it at most is borrowed for; None for all."""


GUEST_FORM = "write GUEST=VG/LV:MODE or GUEST=VG/LV:MODE:SIZE with commas between, for example web1=vg0/swap:move:2GiB"
_GUEST_NAME: TypeAdapter[str] = TypeAdapter(HostName)


def _guest_allowances(value: object) -> object:
    """Return guest to what it may ask for, from text; what is not text passes."""
    if not isinstance(value, str):
        return value
    allowed: dict[str, GuestAllowance] = {}
    for entry in _entries(value):
        guest, equals, rest = (part.strip() for part in entry.partition("="))
        volume, colon, terms = (part.strip() for part in rest.partition(":"))
        if not equals or not colon:
            raise ValueError(f"{entry[:80]!r} says no volume and mode: {GUEST_FORM}")
        try:
            _GUEST_NAME.validate_python(guest)
        except ValidationError:
            raise ValueError(f"{guest[:80]!r} is no guest's name: {GUEST_FORM}") from None
        if guest in allowed:
            raise ValueError(f"{guest} is named twice; a guest has one swap volume")
        if volume in {other.volume for other in allowed.values()}:
            raise ValueError(f"{volume} is named for two guests; swap of two on one disk destroys both")
        terms_of = _allowed_volumes(f"{volume}={terms}")
        assert isinstance(terms_of, dict)
        if not terms_of:
            raise ValueError(f"{entry[:80]!r} says no volume and mode: {GUEST_FORM}")
        mode, most_bytes = terms_of[volume]
        allowed[guest] = GuestAllowance(volume, mode, most_bytes)
    return allowed


_ADDRESS = re.compile(r"(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:,\[\]]+))(:(?P<port>\d{1,5}))?")


def written_brokers(value: object) -> object:
    """Return every broker of a list as it is written: `10.0.0.5,10.0.0.6:8884,[fd00::6]:8883`."""
    found = _entries(value) if isinstance(value, str) else value
    for broker in found if isinstance(found, list | tuple) else ():
        host_and_port(broker)
    return tuple(found) if isinstance(found, list | tuple) else found


def host_and_port(broker: str) -> tuple[str, int | None]:
    """Return a broker's host and its port, None for the usual one. Raises `ValueError`."""
    match = _ADDRESS.fullmatch(broker)
    if match is None or not 1 <= int(match["port"] or 1) <= 65535:
        raise ValueError(f"{broker[:80]!r} is no broker's address: write HOST or HOST:PORT, with commas between")
    return match["v6"] or match["host"], int(match["port"]) if match["port"] else None


def none_if_empty(value: object) -> object:
    """Return None for an empty text, as a variable that is set to nothing."""
    return None if value == "" else value


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or path == Path("/"):
        raise ValueError("write the whole path of a directory, beginning with / (an agent starts anywhere)")
    return path


Directory = Annotated[Path, AfterValidator(_absolute)]
AllowedVolumes = Annotated[Mapping[VolumeName, AllowedVolume], BeforeValidator(_allowed_volumes)]
GuestAllowances = Annotated[Mapping[HostName, GuestAllowance], BeforeValidator(_guest_allowances)]
Guests = Annotated[Mapping[HostName, PositiveBytes | None], BeforeValidator(_guests)]
"""Guests by name, with what each has; None: nobody told."""


class ModeChoice(StrEnum):
    """How to attach: a mode, or `auto`: by pair where two sets of lenders can be had, else by mirror."""

    AUTO = "auto"
    MIRROR = "mirror"
    PAIR = "pair"
    MOVE = "move"

    @property
    def mode(self) -> Mode | None:
        """The mode; None for whichever of pair and mirror can be had."""
        return None if self is ModeChoice.AUTO else Mode(self.value)
