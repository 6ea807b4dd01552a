from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.binaries import binary_of
from tests.faults.model import FaultModel, write_model
from tests.servers import SERVERS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=SERVERS)
def binary(request: pytest.FixtureRequest) -> str:
    """Each server."""
    return binary_of(request.param)


@pytest.fixture(scope="session")
def fault_model(tmp_path_factory: pytest.TempPathFactory) -> FaultModel:
    """The tiny model."""
    folder: Path = tmp_path_factory.mktemp("model")
    return write_model(folder)
