"""Metrics of a real agent at a real broker: what a Prometheus would scrape, from the settings to the page."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from kit.cli_world import isolate
from ramshare.linux.run import SystemRunner
from ramshare_lab.cluster.broker import free_port, start_broker

pytestmark = pytest.mark.broker
WITHIN_S = 60.0


def scrape(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""


def test_a_manager_serves_its_metrics_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)
    port = free_port()
    with start_broker(SystemRunner(), tmp_path / "broker", ["manager"]) as broker:
        settings = broker.settings("manager")
        env = {
            **os.environ,
            "RAMSHARE_BROKER_HOST": broker.host,
            "RAMSHARE_BROKER_PORT": str(broker.port),
            "RAMSHARE_TLS_DIRECTORY": str(settings.tls_directory),
            "RAMSHARE_HOST": "hosta",
            "RAMSHARE_METRICS_LISTEN": f"127.0.0.1:{port}",
        }
        argv = [sys.executable, "-m", "ramshare.launch", "manager"]
        with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as agent:
            try:
                until_s = time.monotonic() + WITHIN_S
                while "ramshare_manager_ready 1.0" not in (text := scrape(port)) and time.monotonic() < until_s:
                    time.sleep(0.1)
            finally:
                agent.terminate()
                _, said = agent.communicate(timeout=30)
        key = max((line for line in settings.key_file.read_text().splitlines()), key=len)
    assert "ramshare_manager_ready 1.0" in text, said
    assert 'ramshare_agent_info{role="manager"' in text
    assert "ramshare_bus_connected 1.0" in text
    assert "ramshare_certificate_expiry_timestamp_seconds" in text
    assert key not in text + said
    assert agent.returncode == 0, "and it ends in order"
