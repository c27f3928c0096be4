"""The folder of an exported network: reading it, and describing images with it.

EXPORT/
  export.json     what it is: ``ExportInfo``
  config.yaml     of the run that it was made from
  visible.onnx    or visible.xml and visible.bin: the graph of visible images
  infrared.onnx   the same of infrared ones; both.onnx where the network treats them alike
  results/        what `vireid evaluate` found

Each graph takes decoded images as they are, uint8 RGB ``[n, H, W, 3]`` of any one size, and gives
unit rows ``[n, d]``: resizing and normalisation are inside.
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
from vireid.errors import ExportError
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
"""The file that says what an export is."""
CONFIG = "config.yaml"
"""The file that says what its run was, as in the run folder."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What goes into a graph, what is done to it inside, and what comes out."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    size: tuple[int, int]
    """Height and width that the graph resizes to, in pixels."""
    dimension: int
    """d, the length of a feature."""
    input: Literal["images"] = INPUT
    """Name of the only input."""
    dtype: Literal["uint8"] = "uint8"
    """Its type."""
    layout: Literal["[n, H, W, 3]"] = "[n, H, W, 3]"
    """Its axes; n, H and W are any numbers."""
    channels: Literal["RGB"] = "RGB"
    """The order of its channels; an infrared image is one channel three times."""
    resize: Literal["bilinear, antialiased, in 8 bits as Pillow"] = (
        "bilinear, antialiased, in 8 bits as Pillow"
    )
    """How the graph resizes. Not to be done again."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """What the graph subtracts from each channel over 255. Not to be done again."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What the graph then divides by."""
    output: Literal["features"] = OUTPUT
    """Name of the output: float32 [n, d], of norm 1; similarity is the dot product."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How near an export comes to its run in torch (float32), on images of real files.

    The images of one modality are queries, those of the other are searched, both ways.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    images: int
    """How many images were described both ways, resized by Pillow."""
    raw_images: int
    """How many were given to the graph as they are besides, one a batch."""
    raw_sizes: str
    """The smallest and the largest of these, height x width."""
    largest_difference: float
    """Between two numbers of a feature, over all images."""
    smallest_cosine: float
    """Between the two features of an image."""
    mean_cosine: float
    """Between the two features of an image."""
    same_nearest: float
    """Share of the queries that find the same image first."""
    overlap_10: float
    """Share of the ten images found first that are the same."""
    misorder: float
    """By how much the similarities of two images are told apart the other way round, at most."""
    arithmetic: str
    """What it was computed in, where that is not what it was exported in; else empty."""


@dataclass(frozen=True, kw_only=True)
class ExportInfo:
    """What an export is."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: Format
    """What the files are."""
    precision: ExportPrecision
    """f32; bf16: asked of the runtime; int8: quantised files."""
    fingerprint: str
    """Short name of exactly this network: the run's, but int8 has its own."""
    weights: str
    """The fingerprint of the run's weights."""
    interface: Interface
    """What goes in and out."""
    graphs: dict[Modality, str]
    """The file of each modality."""
    files: dict[str, str]
    """SHA-256 of every other file."""
    about: dict[str, str]
    """What the run is."""
    calibration: str
    """The images that int8 was calibrated with; empty otherwise."""
    parity: Parity
    """What was measured when it was made."""
    versions: dict[str, str]
    """Of the packages that made it."""

    def facts(self) -> dict[str, str]:
        """What results say of the network."""
        return {**self.about, "precision": self.precision, "export": self.format}


class ExportedBackend(FeatureBackend):
    """An exported network.

    Args:
        sessions: The graph of each modality.
        interface: What goes in and out.
        fingerprint: Its name.
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
            ExportError: The runtime fails, or gives something else than unit rows.
        """
        # Images in channels-last memory, which they usually are in, are not copied.
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        try:
            rows = self.sessions[modality].run(pixels)
        except Exception as error:  # runtimes raise nearly anything
            raise ExportError(
                f"the {modality} graph fails on {len(images)} images of"
                f" {images.shape[2]} x {images.shape[3]} pixels ({error}); expected features;"
                " export the run again."
            ) from error
        if rows.shape != (len(images), self._dimension):
            raise ExportError(
                f"the {modality} graph makes {list(rows.shape)} of {len(images)} images; expected"
                f" {[len(images), self._dimension]}; export the run again."
            )
        return torch.from_numpy(rows)

    @property
    def arithmetic(self) -> str:
        """What it computes in, where that is not what it was exported in; else empty."""
        return next(iter(self.sessions.values())).arithmetic


def is_export(path: Path) -> bool:
    """Whether a path names an export, or a file of one."""
    return (path / INFO).exists() or (path.suffix in (".onnx", ".xml") and path.is_file())


def open_export(path: Path) -> tuple[ExportedBackend, dict[str, str]]:
    """Open an exported network.

    Args:
        path: The folder.

    Returns:
        The network, and what it is as text by name, for results.

    Raises:
        ExportError: It is no whole export, or a package that runs it is missing.
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
    """Graphs, ready to run.

    Args:
        graphs: The file of each modality; one file may serve both.
        interface: What goes in and out.
        precision: What they were exported in.
        fingerprint: The network's name.

    Raises:
        ExportError: A file cannot be opened, or a package that runs it is missing.
    """
    opened = {file: open_session(file, precision) for file in set(graphs.values())}
    sessions = {modality: opened[file] for modality, file in graphs.items()}
    return ExportedBackend(sessions, interface, fingerprint)


def read_info(path: Path) -> ExportInfo:
    """What an export is.

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
            f"'{file}' cannot be read ({_told(error)}); expected what `vireid export` wrote; export"
            " the run again."
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


def _told(error: OSError | ValidationError) -> str:
    """What is wrong, in one line; of several things the first."""
    if isinstance(error, OSError):
        return str(error.strerror)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}"
