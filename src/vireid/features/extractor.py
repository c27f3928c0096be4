"""Feature extraction with a trained model.

Example:
    >>> extractor = load(Path("runs/dlis"))  # doctest: +SKIP
    >>> extractor.extract(layout.test()).values.shape  # doctest: +SKIP
    (6775, 1536)
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from vireid.data.image_stack import ImageStack
from vireid.data.prefetch import prefetch
from vireid.errors import ConfigError, RunError, WeightsError
from vireid.features.exported_backend import is_export, open_export
from vireid.features.torch_backend import FeatureBackend, TorchBackend
from vireid.methods import Method
from vireid.nn.weights import load_exactly
from vireid.runs import Device, Precision, Run, RunFolder
from vireid.types import Features, ImageRecord, Modality, ModelInfo

__all__ = ["AttentionMap", "FeatureExtractor", "Translation", "load"]


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMap:
    """PALM's attention over one image.

    Attributes:
        record: The image.
        weights: float32 ``[N, N]``: row i holds the weights with which position i attends to all
            N = h·w positions (row-major); it sums to 1.
        grid: h and w.
    """

    record: ImageRecord
    weights: NDArray[np.float32]
    grid: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Translation:
    """An image, its translation to the other modality, and that translated back.

    Attributes:
        record: The image.
        original: The input pixels of the network, uint8 ``[H, W, 3]``.
        translated: The translated pixels, uint8 ``[H, W, 3]``.
        back: ``translated``, translated back, uint8 ``[H, W, 3]``.
    """

    record: ImageRecord
    original: NDArray[np.uint8]
    translated: NDArray[np.uint8]
    back: NDArray[np.uint8]


class FeatureExtractor:
    """Extracts features of images; a feature depends on its own image alone.

    Args:
        backend: The model, ready for inference.
        about: Its description as text by name, for results.

    Attributes:
        backend: The model.
        size: Height and width of its input images, in pixels.
        fingerprint: Short hash of its weights.
        about: Its description as text by name.
    """

    def __init__(self, backend: FeatureBackend, *, about: Mapping[str, str] | None = None) -> None:
        self.backend = backend
        self.size = backend.size
        self.fingerprint = backend.fingerprint
        self.about = dict(about or {})

    @classmethod
    def untrained(cls, run: Run, *, classes: int, device: Device | None = None) -> FeatureExtractor:
        """The network of a run before its first step."""
        torch.manual_seed(run.seed)
        network = run.recipe.method.build(classes=classes)
        about = {**about_run(run), "training": "none"}
        backend = TorchBackend(network, device=device or run.device, precision=run.precision)
        return cls(backend, about=about)

    def extract(
        self,
        records: Sequence[ImageRecord],
        *,
        batch_size: int = 64,
        flip: bool = False,
        progress: bool = True,
        images: ImageStack | None = None,
    ) -> Features:
        """Extract the features of images.

        Args:
            records: The images; their modality selects the stream.
            batch_size: Inference batch size; it changes features by rounding only.
            flip: Test-time augmentation: the normalised mean of the features of an image and of its
                mirror image, at twice the cost. Results name it.
            progress: Show progress in images/s on standard error.
            images: The open images of ``records``, where the caller extracts them repeatedly; they
                stay open.

        Returns:
            Unit features, row for row.

        Raises:
            ImageError: If an image cannot be read.
        """
        rows: list[Tensor | None] = [None] * len(records)
        bar = tqdm(
            total=len(records), desc="extracting", unit="image", disable=None if progress else True
        )
        with contextlib.ExitStack() as closing:
            closing.enter_context(bar)
            if images is None:
                images = closing.enter_context(ImageStack(records, size=self.size))
            batches = []
            for modality in Modality:
                own = [i for i, r in enumerate(records) if r.modality is modality]
                batches += [own[at : at + batch_size] for at in range(0, len(own), batch_size)]
            # The next batch is decoded during the forward pass of the current one.
            for indices, pixels in zip(batches, prefetch(images.fetch, batches), strict=True):
                features = self._extract(pixels, records[indices[0]].modality, flip=flip)
                for index, row in zip(indices, features, strict=True):
                    rows[index] = row
                bar.update(len(indices))
        values = torch.stack([row for row in rows if row is not None]) if rows else torch.empty(0)
        return Features(
            values=values.numpy(),
            records=tuple(records),
            augmentation="horizontal flip" if flip else "none",
        )

    def extract_pixels(self, images: Tensor, modalities: Sequence[Modality]) -> NDArray[np.float32]:
        """Extract the features of decoded images, in one forward pass per modality.

        Args:
            images: uint8 ``[n, 3, H, W]`` of ``size``.
            modalities: The modality of each; it selects the stream.

        Returns:
            Unit features, float32 ``[n, d]``, row for row.
        """
        values = np.empty((len(images), self.dimension), dtype=np.float32)
        for modality in Modality:
            own = [i for i, m in enumerate(modalities) if m is modality]
            if own:
                values[own] = self._extract(images[own], modality).numpy()
        return values

    @cached_property
    def dimension(self) -> int:
        """Length of a feature, measured on a black image."""
        black = torch.zeros(1, 3, *self.size, dtype=torch.uint8)
        return self._extract(black, Modality.VISIBLE).shape[1]

    @property
    def model_info(self) -> ModelInfo:
        """What feature files and galleries store of the model."""
        return ModelInfo(self.fingerprint, self.dimension, self.about)

    def attention(self, records: Sequence[ImageRecord]) -> list[AttentionMap]:
        """PALM's attention over images; empty if the model has none.

        Raises:
            ImageError: If an image cannot be read.
        """
        found = []
        with ImageStack(records, size=self.size) as stack:
            for index, record in enumerate(records):
                maps = self.attention_of_pixels(stack.fetch([index]), record.modality)
                found += [AttentionMap(record, weights, self.grid) for weights in maps]
        return found

    def attention_of_pixels(self, image: Tensor, modality: Modality) -> list[NDArray[np.float32]]:
        """PALM's attention over a decoded image.

        Args:
            image: uint8 ``[1, 3, H, W]`` of ``size``.
            modality: The modality; it selects the stream.

        Returns:
            float32 ``[N, N]`` for each PALM, over the N positions of ``grid``, row-major.
        """
        return self.backend.attention(image, modality)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the feature map that PALM attends over."""
        height, width = self.size
        # Every backbone halves the size four times, rounding up.
        return -(-height // 16), -(-width // 16)

    def translate(self, records: Sequence[ImageRecord]) -> list[Translation]:
        """Images in the other modality; empty if the model does not translate.

        Raises:
            ImageError: If an image cannot be read.
        """
        found = []
        with ImageStack(records, size=self.size) as stack:
            for index, record in enumerate(records):
                translated = self.backend.translate(stack.fetch([index]), record.modality)
                if translated is None:
                    return []
                found.append(Translation(record, *translated))
        return found

    def _extract(self, images: Tensor, modality: Modality, *, flip: bool = False) -> Tensor:
        features = self.backend.extract_features(images, modality)
        if flip:
            mirrored = self.backend.extract_features(images.flip(-1), modality)
            features = functional.normalize(features + mirrored)
        return features


def load(
    path: Path, *, device: Device | None = None, precision: Precision | None = None
) -> FeatureExtractor:
    """Load the model of a finished run, or an export.

    Args:
        path: The run folder, or the folder that `vireid export` wrote.
        device: The device; the one used for training by default. An export runs on the CPU.
        precision: The precision; that of training by default. That of an export is fixed.

    Raises:
        RunError: If it is no run folder, not finished, or damaged.
        ExportError: If it is a damaged export, or a package that runs it is missing.
        ConfigError: If another device or a precision is requested of an export.
    """
    if is_export(path):
        if device == "cuda" or precision is not None:
            raise ConfigError(
                f"'{path}' is an export, which runs on the CPU in a fixed precision; expected no"
                " --device and no --precision; leave them out, or load its run."
            )
        exported, about = open_export(path)
        return FeatureExtractor(exported, about=about)
    folder = RunFolder(path)
    run = folder.read_config()
    backend = TorchBackend(
        trained_network(folder, run),
        device=device or run.device,
        precision=precision or run.precision,
    )
    return FeatureExtractor(backend, about=about_run(run))


def trained_network(folder: RunFolder, run: Run) -> Method:
    """The network of a finished run, on the CPU.

    Args:
        folder: The run folder.
        run: Its configuration.

    Raises:
        RunError: If it is not finished, or damaged.
    """
    state, classes, _ = folder.read_model()
    # The trained tensors replace all initial weights, which need not be downloaded.
    network = replace(run.recipe.method, weights="none").build(classes=classes)
    advice = "its config.yaml was changed after training; undo the change"
    try:
        load_exactly(network, state, source=f"'{folder.model_file}'", advice=advice)
    except WeightsError as error:
        raise RunError(str(error)) from error
    return network


def about_run(run: Run) -> dict[str, str]:
    """The description of a run, for results."""
    method, optimisation = run.recipe.method, run.recipe.optimisation
    return {
        "recipe": run.name,
        **method.about(),
        **({"weights": str(run.start)} if run.start else {}),
        "epochs": str(optimisation.epochs),
        "seed": str(run.seed),
        "precision": run.precision,
        "model": "last epoch" if run.select == "last" else "best epoch on validation identities",
    }
