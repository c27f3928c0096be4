"""Trained models by folder or by name."""

from __future__ import annotations

from pathlib import Path

from vireid.errors import RunError
from vireid.log import log_once
from vireid.models import installed_models, name_installed
from vireid.runs.folder import RunFolder

__all__ = ["resolve_model"]


def resolve_model(model: str | Path) -> RunFolder:
    """Find a trained model; every command and function that takes a run calls this.

    A folder takes precedence over an installed model of the same name, and a message says so.

    Args:
        model: A run folder, the ``model.safetensors`` in one, an export, or the name of an
            installed model.

    Returns:
        Its folder, which may lack files that a caller needs.

    Raises:
        RunError: If there is neither such a folder nor such a model.
    """
    path = Path(model)
    if path.name == "model.safetensors":
        path = path.parent
    installed = installed_models().get(str(path))
    if path.is_dir():
        if installed:
            log_once(
                f"'{path}' is a folder, which is used instead of the installed model of that name."
            )
        return RunFolder(path)
    if installed is None:
        raise RunError(
            f"'{model}' is no run folder: it {'is a file' if path.is_file() else 'does not exist'};"
            " expected a folder written by `vireid train RECIPE --out RUN`, or the name of a model;"
            f" {name_installed()}."
        )
    if installed.about.task != "re-identification":
        raise RunError(
            f"'{model}' is an installed model for {installed.about.task}; expected one for"
            f" re-identification; {name_installed()}."
        )
    return RunFolder(installed.path, installed=installed.name)
