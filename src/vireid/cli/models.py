"""``vireid models``: the installed models; no torch here."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps, loads

from vireid.cli._flags import Switch
from vireid.log import echo
from vireid.models import DEFAULT_MODEL, InstalledModel, installed_models, name_installed

__all__ = ["models"]

_NOTES = """\
Input: height x width in pixels. The figures are those of each model's MODEL_CARD.md; compare only
figures of the same data and protocol. A command that takes a run takes the name of a
re-identification model, such as `vireid gallery add people --run NAME day/ night/`."""


def models(*, json: Switch = False) -> list[InstalledModel]:
    """List the installed models, which need no training.

    Args:
        json: Print JSON instead of a table.

    Returns:
        The models by name.
    """
    found = list(installed_models().values())
    if json:
        echo(dumps([_as_json(model) for model in found], indent=2))
    elif found:
        echo(_as_text(found))
    else:
        echo(f"{name_installed().capitalize()}.")
    return found


def _as_json(model: InstalledModel) -> dict[str, object]:
    return {
        "name": model.name,
        "default": model.name == DEFAULT_MODEL,
        "path": str(model.path),
        "megabytes": round(model.megabytes, 2),
        **loads(model.about.to_json()),
    }


def _as_text(found: Sequence[InstalledModel]) -> str:
    blocks = []
    for model in found:
        about, default = model.about, " (default)" if model.name == DEFAULT_MODEL else ""
        size = "x".join(map(str, about.size))
        lines = [
            f"{model.name}{default}: {about.summary}",
            f"{about.task}, input {size}, {model.megabytes:.1f} MB, {about.licence}, fingerprint"
            f" {about.fingerprint}",
            *(map(str, about.figures) if about.figures else ["no figures"]),
            str(model.path / "MODEL_CARD.md"),
        ]
        blocks.append("\n  ".join(lines))
    return "\n\n".join([*blocks, _NOTES])
