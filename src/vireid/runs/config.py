"""The configuration of a training run: the flags of a command, and ``config.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from vireid.data.layouts import DataSource
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ConfigError
from vireid.methods import AnyMethod, Recipe

__all__ = ["Adaptation", "Device", "Precision", "Run", "RunOptions", "Selection", "Start"]

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed", "64-true"]
Selection = Literal["last", "validation"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Data and execution."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    data: DataSource
    """The data set."""
    tone_mapping: str = "auto"
    """How images of more than 8 bits are mapped to 8, in training and search: auto (by each file),
    full, percentile:1:99, bounds:LOW:HIGH, celsius:LOW:HIGH, or bounds per camera, such as
    bounds:yard=29000:31000,gate=28500:30500."""
    select: Selection = "last"
    """Which epoch's network becomes the model: the last, or with --hold-out the one that is best
    on the validation identities. Never one that is best on a test gallery."""
    precision: Precision = "32-true"
    """Arithmetic of the network; bf16-mixed is bfloat16 autocast, faster where the processor
    supports it; 64-true is double precision: slow, and free of most rounding."""
    device: Device = "auto"
    """Device; auto selects a GPU if there is one."""
    compile: bool = False
    """Compile the network by torch.compile before the first step. On two cores that takes minutes,
    and its gain has not been measured; meant for long runs on a GPU."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tone_mapping", str(ToneMapping.parse(self.tone_mapping)))
        if self.select == "validation" and not self.data.hold_out:
            raise ConfigError(
                "--select validation chooses by identities that are held out of training; add "
                "--hold-out, or leave --select at 'last'."
            )

    def run(self, name: str, recipe: Recipe[Any], *, seed: int = 0) -> Run:
        """A run of a recipe with these options.

        Args:
            name: The recipe's name.
            recipe: The recipe.
            seed: Seed of every random draw.
        """
        options = {field.name: getattr(self, field.name) for field in fields(RunOptions)}
        # An absolute path, so that the run can be evaluated from any folder.
        options["data"] = self.data.at(self.data.root.absolute())
        return Run(name=name, recipe=recipe, seed=seed, **options)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The trained network that a training starts from."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    model: Path
    """Its run folder, or the name of an installed model."""
    fingerprint: str
    """Fingerprint of its weights."""

    def __str__(self) -> str:
        return f"run {self.model.name} ({self.fingerprint})"


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """Adaptation to unlabelled images; a round is an epoch of training on labels drawn anew."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    within: int = 2
    """Rounds of phase one, which trains within each modality only."""
    clustering: Literal["average", "dbscan"] = "average"
    """Clustering of each modality by Jaccard distances; more than 20,000 images of one are always
    clustered by dbscan."""
    cut: float = 0.75
    """With average: largest mean distance of two clusters that become one, in (0, 1)."""
    eps: float = 0.5
    """With dbscan: largest distance of neighbours, in (0, 1)."""
    min_images: int = 5
    """Least images of a cluster, about half of those of a person in a modality; images of smaller
    ones are not trained on."""
    k1: int = 10
    """Number of neighbours among which reciprocal ones are searched: about the number of images of
    a person in a modality."""
    k2: int = 3
    """Number of nearest images over which an encoding is averaged."""
    matched: float = 0.5
    """Share of the possible matches across modalities that the first round of phase two trains on;
    rises to 1 over half of the remaining rounds."""
    temperature: float = 0.05
    """Temperature of the contrast with cluster centres."""
    momentum: float = 0.8
    """Share of a cluster centre that an image of the cluster leaves unchanged."""
    average: float = 0.99
    """Share of the averaged weights that a step leaves unchanged; 0: no averaging."""
    settled: float = 0.98
    """Agreement of the labels of consecutive rounds (normalised mutual information) from which
    adaptation stops, once all matches are used; 1: never."""
    measure: bool = False
    """Measure the purity of clusters and the matches by the labels of the images; they are never
    trained on."""
    links: Path | None = None
    """Corrections: a CSV file with the columns first, second (paths of images) and same (yes or
    no)."""

    def __post_init__(self) -> None:
        for name, least in (("within", 0), ("min_images", 2), ("k1", 1), ("k2", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"`vireid adapt --{name.replace('_', '-')} {getattr(self, name)}` is out of"
                    f" range; expected at least {least}."
                )
        for name in ("cut", "eps", "matched", "temperature", "momentum", "average", "settled"):
            value, least = getattr(self, name), name in ("momentum", "average")
            if not (value >= 0 if least else value > 0) or value > 1 or (value == 1 and least):
                raise ConfigError(
                    f"`vireid adapt --{name} {value:g}` is out of range; expected a number from 0"
                    " to 1."
                )
        for name in ("cut", "eps"):
            if getattr(self, name) == 1:
                raise ConfigError(
                    f"`vireid adapt --{name} 1` makes one cluster of all images; expected less."
                )

    def __str__(self) -> str:
        radius = f"cut {self.cut:g}" if self.clustering == "average" else f"eps {self.eps:g}"
        return (
            f"without labels ({self.clustering} {radius}, {self.within} rounds within the"
            " modalities)"
        )


@dataclass(frozen=True, kw_only=True)
class Run(RunOptions):
    """Everything that determines the result of a training."""

    name: str
    """The recipe's name."""
    recipe: Recipe[AnyMethod]
    """The method and how it is trained."""
    seed: int = 0
    """Seed of every random draw."""
    start: Start | None = None
    """The trained network that it starts from; see :func:`vireid.runs.start_from`."""
    adaptation: Adaptation | None = None
    """How it adapts to its images without labels; None: it is trained on the labels."""
