"""Exports: reading their folder, and extracting features with them.

EXPORT/
  export.json     metadata: ``ExportInfo``
  config.yaml     the configuration of the exported run
  data.json       what it was trained on
  visible.onnx    or visible.xml and visible.bin: the graph of visible images
  infrared.onnx   the graph of infrared images; both.onnx where one graph serves both
  results/        results of `vireid evaluate`

Each graph takes decoded images, uint8 RGB ``[n, H, W, 3]`` of any one size, and returns unit rows
``[n, d]``: it contains resizing and normalisation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from vireid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from vireid.errors import ExportError, many
from vireid.features.runtimes import (
    INPUT,
    OUTPUT,
    ExportPrecision,
    Format,
    Session,
    open_session,
)
from vireid.features.torch_backend import FeatureBackend
from vireid.types import Modality

__all__ = [
    "CONFIG",
    "INFO",
    "ExportInfo",
    "ExportedBackend",
    "Interface",
    "Parity",
    "info_bytes",
    "is_export",
    "open_export",
    "open_graphs",
    "read_info",
    "sha256_of",
]

INFO = "export.json"
"""The metadata of an export."""
CONFIG = "config.yaml"
"""The configuration of the run, as in the run folder."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """Input, preprocessing and output of a graph."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    size: tuple[int, int]
    """Height and width to which the graph resizes, in pixels."""
    dimension: int
    """d, the length of a feature."""
    input: Literal["images"] = INPUT
    """Name of the input."""
    dtype: Literal["uint8"] = "uint8"
    """Its type."""
    layout: Literal["[n, H, W, 3]"] = "[n, H, W, 3]"
    """Its axes; n, H and W are dynamic."""
    channels: Literal["RGB"] = "RGB"
    """Channel order; an infrared image repeats one channel three times."""
    resize: Literal["bilinear, antialiased, in 8 bits as Pillow"] = (
        "bilinear, antialiased, in 8 bits as Pillow"
    )
    """How the graph resizes; do not resize before."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """What the graph subtracts from each channel divided by 255; do not normalise before."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What the graph then divides by."""
    output: Literal["features"] = OUTPUT
    """Name of the output: float32 [n, d], of norm 1; similarity is the dot product."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Differences between an export and its run in PyTorch (float32), on real image files.

    The images of each modality query those of the other.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    images: int
    """Images extracted by both, resized by Pillow."""
    raw_images: int
    """Images also passed to the graph unresized, one per batch."""
    raw_sizes: str
    """The smallest and the largest of these, height x width."""
    largest_difference: float
    """Largest absolute difference of a feature value, over all images."""
    smallest_cosine: float
    """Smallest cosine of the two features of an image."""
    mean_cosine: float
    """Mean cosine of the two features of an image."""
    same_nearest: float
    """Share of queries with the same rank-1 image."""
    overlap_10: float
    """Share of the top-10 images that are the same."""
    misorder: float
    """Largest difference of two similarities that the export orders the other way round."""
    arithmetic: str
    """The arithmetic, where it differs from the exported precision; else empty."""


@dataclass(frozen=True, kw_only=True)
class ExportInfo:
    """The metadata of an export."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: Format
    """Format of the files."""
    precision: ExportPrecision
    """f32; bf16: requested from the runtime; int8: quantised files."""
    fingerprint: str
    """Short hash of the model: that of the run, except for int8."""
    weights: str
    """Fingerprint of the run's weights."""
    interface: Interface
    """Input and output."""
    graphs: dict[Modality, str]
    """The file of each modality."""
    files: dict[str, str]
    """SHA-256 of every other file."""
    about: dict[str, str]
    """Description of the run."""
    calibration: str
    """The images that calibrated int8; empty otherwise."""
    parity: Parity
    """Measured parity with the run."""
    versions: dict[str, str]
    """Versions of the packages that wrote it."""

    def facts(self) -> dict[str, str]:
        """The description of the model for results."""
        return {**self.about, "precision": self.precision, "export": self.format}


class ExportedBackend(FeatureBackend):
    """An exported model.

    Args:
        sessions: The graph of each modality.
        interface: Input and output of the graphs.
        fingerprint: Short hash of the model.
    """

    def __init__(
        self, sessions: Mapping[Modality, Session], interface: Interface, fingerprint: str
    ) -> None:
        self.sessions = sessions
        self.size = interface.size
        self.fingerprint = fingerprint
        self._dimension = interface.dimension

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        """As :meth:`FeatureBackend.extract_features`, of images of any one size.

        Raises:
            ExportError: The runtime fails, or returns anything but unit rows.
        """
        # No copy for images in channels-last memory, the usual case.
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        try:
            rows = self.sessions[modality].run(pixels)
        except Exception as error:  # runtimes raise nearly anything
            raise ExportError(
                f"the {modality} graph fails on {many(len(images), 'image')} of"
                f" {images.shape[2]} x {images.shape[3]} pixels ({error}); expected features;"
                " export the run again."
            ) from error
        if rows.shape != (len(images), self._dimension):
            raise ExportError(
                f"the {modality} graph returns {list(rows.shape)} for {many(len(images), 'image')};"
                f" expected {[len(images), self._dimension]}; export the run again."
            )
        return torch.from_numpy(rows)

    @property
    def arithmetic(self) -> str:
        """The arithmetic, where it differs from the exported precision; else empty."""
        return next(iter(self.sessions.values())).arithmetic


def is_export(path: Path) -> bool:
    """Whether a path is an export or a file of one."""
    return (path / INFO).exists() or (path.suffix in (".onnx", ".xml") and path.is_file())


def open_export(path: Path) -> tuple[ExportedBackend, dict[str, str]]:
    """Open an export.

    Args:
        path: The folder.

    Returns:
        The model, and its description as text by name, for results.

    Raises:
        ExportError: It is no complete export, or a package that runs it is missing.
    """
    info = read_info(path)
    for name, expected in info.files.items():
        file = path / name
        if not file.is_file() or sha256_of(file) != expected:
            raise ExportError(
                f"'{file}' is {'damaged' if file.is_file() else 'missing'}; expected the file that"
                " `vireid export` wrote; copy the folder again, or export the run again."
            )
    backend = open_graphs(
        {modality: path / name for modality, name in info.graphs.items()},
        info.interface,
        precision=info.precision,
        fingerprint=info.fingerprint,
    )
    facts = info.facts()
    if backend.arithmetic:
        facts["precision"] += f" (computed in {backend.arithmetic})"
    return backend, facts


def open_graphs(
    graphs: Mapping[Modality, Path],
    interface: Interface,
    *,
    precision: ExportPrecision,
    fingerprint: str,
) -> ExportedBackend:
    """Open the graphs of a model.

    Args:
        graphs: The file of each modality; one file may serve both.
        interface: Input and output of the graphs.
        precision: The exported precision.
        fingerprint: Short hash of the model.

    Raises:
        ExportError: A file cannot be opened, or a package that runs it is missing.
    """
    opened = {file: open_session(file, precision) for file in set(graphs.values())}
    sessions = {modality: opened[file] for modality, file in graphs.items()}
    return ExportedBackend(sessions, interface, fingerprint)


def read_info(path: Path) -> ExportInfo:
    """Read the metadata of an export.

    Args:
        path: The folder.

    Raises:
        ExportError: It is no export, or its export.json is not one that vireid wrote.
    """
    if path.is_file():
        raise ExportError(
            f"'{path}' is one file; expected the folder of an export, whose {INFO} says what its"
            f" graphs take: '{path.parent}'."
        )
    file = path / INFO
    try:
        info = TypeAdapter(ExportInfo).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ExportError(
            f"'{file}' cannot be read ({_reason(error)}); expected what `vireid export` wrote;"
            " export the run again."
        ) from error
    inside = all(Path(name).name == name for name in info.files)
    if (
        set(info.graphs) != set(Modality)
        or not set(info.graphs.values()) <= set(info.files)
        or not inside
    ):
        raise ExportError(
            f"'{file}' names the graphs {sorted(info.graphs.values())} and the files"
            f" {sorted(info.files)}; expected a graph of each modality and files of its own folder;"
            " export the run again."
        )
    return info


def info_bytes(info: ExportInfo) -> bytes:
    """``export.json`` of an export."""
    plain = TypeAdapter(ExportInfo).dump_python(info, mode="json")
    return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _reason(error: OSError | ValidationError) -> str:
    """The first error in one line."""
    if isinstance(error, OSError):
        return str(error.strerror)
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{field}: {first['msg']}{more}" if field else f"{first['msg']}{more}"
