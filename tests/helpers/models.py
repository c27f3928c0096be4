"""Installed models for tests, independent of those of the environment."""

from pathlib import Path

import pytest
from models.pack import pack

from vireid.models import DEFAULT_MODEL

__all__ = ["hide_models", "install_model"]


def install_model(
    run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, name: str = DEFAULT_MODEL
) -> Path:
    """Pack a run into a package of models that hides the environment's; returns its folder."""
    package = folder / "vireid_models"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    return pack(run, name, out=package)


def hide_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no model be installed."""
    monkeypatch.setattr("vireid.models.PACKAGE", "vireid_models_that_are_not_installed")
