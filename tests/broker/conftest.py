"""Fixtures of the broker tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.broker_worlds import MemoryWorld, MosquittoWorld, World


@pytest.fixture(
    params=[
        pytest.param("memory", marks=pytest.mark.unit),
        pytest.param("mosquitto", marks=pytest.mark.broker),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Both worlds, one after the other."""
    here: World = MemoryWorld() if request.param == "memory" else MosquittoWorld(tmp_path / "broker")
    yield here
    here.close()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[MosquittoWorld]:
    """The real one, for what only a real broker can show."""
    here = MosquittoWorld(tmp_path / "broker")
    yield here
    here.close()
