"""Configuration of agents and commands: environment variables `RAMSHARE_…`, or a file of them.

A service reads `/etc/ramshare/ramshare.env`; `RAMSHARE_ENV_FILE` names another.
The password is read from a file, so that it is neither in the environment nor on a command line.
Plain pydantic: pydantic-settings would cost a monitor in every guest 3 MB (asyncio and a command line parser with it).
"""

from ramshare.settings.agents import BorrowerSettings, HostSettings, LenderLabSettings, LenderSettings, ManagerSettings
from ramshare.settings.base import Settings, SettingsError
from ramshare.settings.broker import BrokerSettings
from ramshare.settings.forms import AllowedVolume, GuestAllowance, ModeChoice
from ramshare.settings.reading import KINDS, default_operator, load, read_env_file, unknown_variables

__all__ = [
    "KINDS",
    "AllowedVolume",
    "BorrowerSettings",
    "BrokerSettings",
    "GuestAllowance",
    "HostSettings",
    "LenderLabSettings",
    "LenderSettings",
    "ManagerSettings",
    "ModeChoice",
    "Settings",
    "SettingsError",
    "default_operator",
    "load",
    "read_env_file",
    "unknown_variables",
]
