"""Where the broker is, and who an agent is there."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)

from ramshare.messages.base import (
    ClientName,
    Seconds,
)
from ramshare.settings.base import Settings, SettingsError
from ramshare.settings.forms import host_and_port, written_brokers
from ramshare.topics import server_name

TLS_PORT, PLAIN_PORT = 8883, 1883


class BrokerSettings(Settings):
    """Where the broker is and who we are."""

    broker_host: str = Field(default="127.0.0.1", min_length=1, description="Name or address of the Mosquitto broker.")
    broker_port: int | None = Field(
        default=None, ge=1, le=65535, description="By default 8883, without TLS 1883. The guests' broker: 8884."
    )
    broker_hosts: Annotated[tuple[str, ...], BeforeValidator(written_brokers)] = Field(
        default=(),
        max_length=16,
        description="Several brokers, tried in this order: 10.0.0.5,10.0.0.6:8885; goes "
        "before RAMSHARE_BROKER_HOST. An agent that is at a later one goes back when an earlier one is there again.",
    )
    broker_insecure: bool = Field(
        default=False, description="Plain TCP, with a password if there is one: only where nobody else can listen."
    )
    tls_directory: Path = Field(
        default=Path("/etc/ramshare/tls"),
        description="Holds ca.crt, CLIENT.crt and CLIENT.key, as `ramshare broker init` makes them.",
    )
    client: ClientName | None = Field(default=None, description="Name of the account; by default `role.host`.")
    password_file: Path | None = Field(
        default=None, description="File with the MQTT password, mode 0600; with RAMSHARE_BROKER_INSECURE only."
    )
    root: str = Field(default="ramshare", description="First part of every topic.")
    keepalive_s: int = Field(default=15, ge=5, le=600)
    announce_interval_s: Seconds = Field(default=60.0, description="Heartbeat: `status` is published again this often.")

    @model_validator(mode="before")
    @classmethod
    def _begin_with_the_first(cls, given: Any) -> Any:
        """The first of several brokers is the one that is meant where only one can be."""
        with contextlib.suppress(ValueError):  # the field itself is refused then, by name
            found = written_brokers(given.get("broker_hosts", ()))
            if found and isinstance(found, tuple | list):
                return {**given, "broker_host": host_and_port(found[0])[0]}
        return given

    @property
    def brokers(self) -> tuple["BrokerSettings", ...]:
        """The settings of each broker alone, in the order in which they are tried."""
        if not self.broker_hosts:
            return (self,)
        places = [host_and_port(broker) for broker in self.broker_hosts]
        return tuple(
            self.model_copy(update={"broker_hosts": (), "broker_host": host, "broker_port": port or self.broker_port})
            for host, port in places
        )

    @property
    def port(self) -> int:
        """The broker's port."""
        return self.broker_port or (PLAIN_PORT if self.broker_insecure else TLS_PORT)

    @property
    def broker(self) -> str:
        """The broker's address, or all of them, for people."""
        return ", ".join(f"{one.broker_host}:{one.port}" for one in self.brokers)

    @property
    def ca_file(self) -> Path:
        """The authority that signed the broker's certificate."""
        return self.tls_directory / "ca.crt"

    @property
    def cert_file(self) -> Path:
        """This client's certificate; of several managers each has its own, under one name."""
        return self.tls_directory / f"{server_name(self.client or '')}.crt"

    @property
    def key_file(self) -> Path:
        """The key of `cert_file`, a secret."""
        return self.tls_directory / f"{server_name(self.client or '')}.key"

    @property
    def password(self) -> SecretStr | None:
        """The password, read anew each time. Raises `SettingsError` if the file cannot be read."""
        if self.password_file is None:
            return None
        try:
            return SecretStr(self.password_file.read_text().strip())
        except OSError as error:
            raise SettingsError(f"cannot read the password file {self.password_file}: {error.strerror}") from error
        except UnicodeDecodeError:
            # Without its cause, which holds the password.
            raise SettingsError(f"cannot read the password file {self.password_file}: it is not UTF-8") from None
