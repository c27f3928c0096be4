"""Ready-made models: the folders of the package ``vireid_models``, found without a network.

vireid_models/
  NAME/
    model.json      what `vireid models` prints, see :class:`Description`
    MODEL_CARD.md   training data, recipe, figures and limits
    ...             of a re-identification model the files of its run folder

The distribution `vireid-models` installs the package; it holds data only. This module needs no
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vireid.errors import ConfigError, RunError

__all__ = [
    "DEFAULT_MODEL",
    "DESCRIPTION",
    "Description",
    "Figure",
    "InstalledModel",
    "Task",
    "default_model",
    "installed_models",
    "name_installed",
]

PACKAGE = "vireid_models"
"""The package whose folders are models."""
DEFAULT_MODEL = "synvi-lite0"
"""The model of commands that get no run."""
DESCRIPTION = "model.json"
"""The file that makes a folder of the package a model."""

Task = Literal["re-identification", "detection"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The measured accuracy of a model on one data set."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    on: str
    """Data, protocol and direction."""
    scores: Mapping[str, float]
    """Scores by name, in percent."""
    chance: Mapping[str, float] = field(default_factory=dict)
    """Scores of a random ranking by name, in percent."""

    def __str__(self) -> str:
        scores, chance = (
            ", ".join(f"{name} {score:.1f}" for name, score in found.items())
            for found in (self.scores, self.chance)
        )
        return f"{self.on}: {scores}" + (f" (chance: {chance})" if chance else "")


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of ``model.json``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    task: Task
    """What it does."""
    summary: str
    """One line: what it was trained on."""
    licence: str
    """SPDX identifier."""
    size: tuple[int, int]
    """Height and width of its input, in pixels."""
    fingerprint: str
    """Fingerprint of its weights; see :func:`vireid.nn.weights.fingerprint`."""
    figures: tuple[Figure, ...] = ()
    """Measured accuracies."""

    def to_json(self) -> bytes:
        """The content of ``model.json``."""
        return TypeAdapter(Description).dump_json(self, indent=2) + b"\n"


@dataclass(frozen=True, kw_only=True)
class InstalledModel:
    """A model that is installed.

    Attributes:
        name: Its name.
        path: Its folder, which may be read-only.
        about: Its description.
    """

    name: str
    path: Path
    about: Description

    @property
    def megabytes(self) -> float:
        """Size of its files, in 10^6 bytes."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()) / 1e6


def installed_models() -> dict[str, InstalledModel]:
    """The installed models by name; empty without the package ``vireid_models``.

    Raises:
        RunError: A ``model.json`` is damaged.
    """
    spec = find_spec(PACKAGE)  # imports nothing
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    files = [file for folder in folders for file in folder.glob(f"*/{DESCRIPTION}")]
    return {
        file.parent.name: InstalledModel(
            name=file.parent.name, path=file.parent, about=_description(file)
        )
        for file in sorted(files)
    }


def _description(file: Path) -> Description:
    try:
        return TypeAdapter(Description).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"'{file}' cannot be read ({error}); expected the description of an installed model;"
            " install vireid-models again."
        ) from error


def name_installed(task: Task = "re-identification") -> str:
    """The end of an error message: which models are installed, or how to install some."""
    names = [f"'{name}'" for name, model in installed_models().items() if model.about.task == task]
    if names:
        return f"installed models: {', '.join(names)} (`vireid models`)"
    return (
        f"no model for {task} is installed; `pip install ./models` in the source folder of vireid"
        " installs vireid-models"
    )


def default_model() -> InstalledModel:
    """The model of commands that get no run.

    Raises:
        ConfigError: It is not installed.
    """
    found = installed_models().get(DEFAULT_MODEL)
    if found is None:
        raise ConfigError(
            f"No run is given, and the default model '{DEFAULT_MODEL}' is not installed; expected a"
            f" run folder as --run, or the model: {name_installed()}."
        )
    return found
