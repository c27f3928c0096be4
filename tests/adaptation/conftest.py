"""Folders of unlabelled images."""

from pathlib import Path

import pytest
from tests.helpers.unlabelled import write_people


@pytest.fixture(scope="session")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("cameras"))
