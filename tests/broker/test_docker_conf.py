"""The container's configuration starts a broker too, once its paths are those of this machine."""

import subprocess
import time
from pathlib import Path

import pytest

from ramshare_lab.cluster.broker import config_dir, free_port, listening_ports

pytestmark = pytest.mark.broker


def test_mosquitto_accepts_the_containers_configuration(tmp_path: Path) -> None:
    port = free_port()
    text = (config_dir() / "docker" / "mosquitto.conf").read_text()
    (tmp_path / "passwords").write_text("")
    for there, here in (
        ("listener 1883", f"listener {port} 127.0.0.1\nuser root"),
        ("/run/secrets/broker_passwords", str(tmp_path / "passwords")),
        ("/mosquitto/ramshare/acl", str(config_dir() / "acl")),
        ("/mosquitto/ramshare", str(config_dir())),
        ("/mosquitto/data/", f"{tmp_path}/"),
        ("log_dest stdout", f"log_dest file {tmp_path}/log"),
    ):
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "main.conf").write_text(text)
    with subprocess.Popen(["mosquitto", "-c", str(tmp_path / "main.conf")], stderr=subprocess.DEVNULL) as broker:
        try:
            deadline = time.monotonic() + 10
            while not listening_ports(broker.pid) and time.monotonic() < deadline:
                assert broker.poll() is None
                time.sleep(0.05)
            assert listening_ports(broker.pid) == {port}, "one listener, and no other"
        finally:
            broker.terminate()
