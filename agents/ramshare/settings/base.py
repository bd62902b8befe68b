"""What every kind of settings is, and the error for a value that cannot be used."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ramshare.errors import ExitCode, RamshareError


class SettingsError(RamshareError):
    """A setting has a value that cannot be used."""

    exit_code = ExitCode.USAGE


class Settings(BaseModel):
    """Settings of one kind; `load` reads them, the constructor takes what it is given only."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    PREFIX: ClassVar[str] = "RAMSHARE_"
    """What the name of each variable begins with; the field's name in upper case follows."""
