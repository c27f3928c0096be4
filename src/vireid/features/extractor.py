"""Feature extraction with a trained model.

Example:
    >>> extractor = load("runs/dlis")  # doctest: +SKIP
    >>> extractor.extract(["day/a.jpg", "night/b.png"]).values.shape  # doctest: +SKIP
    (2, 1536)
"""

from __future__ import annotations

import copy
import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from vireid.data.image_stack import ImageStack, log_converted
from vireid.data.inspection import describe_guesses
from vireid.data.prefetch import prefetch_each
from vireid.data.tone_mapping import TONE_MAPPING, ToneMapping
from vireid.distributed.comm import is_main_process, rank
from vireid.errors import ConfigError, PluginError, RunError, WeightsError
from vireid.features.distributed import gather_features, shares_of
from vireid.features.exported_backend import is_export, open_export
from vireid.features.inputs import (
    DecodedImage,
    GivenImage,
    ImageInput,
    ModalityInput,
    decode_given,
    given_images,
)
from vireid.features.torch_backend import FeatureBackend, TorchBackend
from vireid.log import log
from vireid.methods import Method
from vireid.nn.weights import load_exactly
from vireid.plugins import declared, origin, plugins
from vireid.runs import Device, Precision, Run, RunFolder, resolve_model
from vireid.standardisation import Standardisation
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

    Several threads may call :meth:`extract_pixels` and :meth:`attention_of_pixels`; the model
    serves one at a time, because a forward pass uses all cores and records attention in the model.

    Args:
        backend: The model, ready for inference.
        about: Its description as text by name, for results; it names the tone mapping.

    Attributes:
        backend: The model.
        size: Height and width of its input images, in pixels.
        fingerprint: Short hash of its weights.
        about: Its description as text by name.
        tone_mapping: How images of more than 8 bits are mapped to 8.
    """

    def __init__(self, backend: FeatureBackend, *, about: Mapping[str, str] | None = None) -> None:
        self.backend = backend
        self.size = backend.size
        self.fingerprint = backend.fingerprint
        self.about = dict(about or {})
        self.tone_mapping = ToneMapping.named_in(self.about)
        self.standardisation: Standardisation | None = None
        self._lock = threading.Lock()

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
        images: ImageInput | Iterable[ImageInput],
        *,
        modality: ModalityInput | None = None,
        batch_size: int = 64,
        flip: bool = False,
        progress: bool = True,
        distributed: bool = False,
        stack: ImageStack | None = None,
    ) -> Features:
        """Extract the features of images.

        Memory holds the features and two batches of decoded images. Images of a generator are
        processed in its order; those of a list by modality, so that a batch is one forward pass.

        Args:
            images: One image or several: paths, PIL images of any mode, arrays uint8 ``[H, W, 3]``
                (RGB) or ``[H, W]``, an array ``[N, H, W, 3]``, records, or a generator of these.
            modality: The modality of images without a record, which selects the stream: one for
                all, or one per image. By default it is guessed from the colours of each image, as
                by ``vireid encode``, and the number of guesses is printed on standard error.
            batch_size: Inference batch size; it changes features by rounding only.
            flip: Test-time augmentation: the normalised mean of the features of an image and of its
                mirror image, at twice the cost. Results name it.
            progress: Show progress in images/s, and the number of guesses, on standard error.
            distributed: Extract each image in one of the processes of a distributed run, and return
                all features in all of them, equal to those of one process. All
                modalities must be given, and the images in the same order in every process.
            stack: The open images of ``images`` (with ``distributed`` those of
                :func:`~vireid.features.local_records`), where the caller extracts them repeatedly;
                it stays open.

        Returns:
            Unit features, row for row. The record of an image that was given without one has its
            path (of an image in memory ``images[i]``), the identity -1 and the camera 0.

        Raises:
            ConfigError: There is no image, or ``modality`` or ``batch_size`` is invalid.
            ImageError: An image cannot be read, or is of a wrong type, dtype or shape.
        """
        check_batch_size(batch_size)
        given = given_images(images, modality)
        if not distributed:
            values, records = self._extract_given(given, batch_size, flip, progress, stack)
        else:
            given = list(given)
            for image in given:
                if image.guess:
                    raise ConfigError(
                        f"the modality of '{image.record.path}' is unknown; expected that of every"
                        " image, because processes share batches of one modality; add modality=."
                    )
            records = [image.record for image in given]
            shares = shares_of(records, batch_size)
            own = [given[index] for index in shares[rank()]]
            values, _ = self._extract_given(own, batch_size, flip, progress, stack)
            values = gather_features(values, shares)
        return Features(values, tuple(records), "horizontal flip" if flip else "none")

    def standardised(self, standardisation: Standardisation) -> FeatureExtractor:
        """The network followed by a standardisation: a model with its own fingerprint.

        Args:
            standardisation: The standardisation.
        """
        model = standardisation.model(self.model_info)
        other = copy.copy(self)
        other.fingerprint, other.about = model.fingerprint, dict(model.about)
        other.standardisation = standardisation
        return other

    def extract_pixels(
        self,
        images: Tensor,
        modalities: Sequence[Modality],
        *,
        cameras: Sequence[str] | None = None,
        flip: bool = False,
    ) -> NDArray[np.float32]:
        """Extract the features of decoded images, in one forward pass per modality.

        Args:
            images: uint8 ``[n, 3, H, W]`` of ``size``.
            modalities: The modality of each; it selects the stream.
            cameras: The camera of each, for a standardisation; unknown by default.
            flip: As for :meth:`extract`.

        Returns:
            Unit features, float32 ``[n, d]``, row for row.
        """
        with self._lock:
            values = np.empty((len(images), self.dimension), dtype=np.float32)
            for modality in Modality:
                own = [i for i, m in enumerate(modalities) if m is modality]
                if own:
                    features = self.backend.extract_features(images[own], modality)
                    if flip:
                        mirrored = self.backend.extract_features(images[own].flip(-1), modality)
                        features = functional.normalize(features + mirrored)
                    values[own] = features.numpy()
        if self.standardisation:
            names = cameras or [""] * len(images)
            return self.standardisation.apply(values, modalities, names)
        return values

    @cached_property
    def dimension(self) -> int:
        """Length of a feature, measured on a black image."""
        black = torch.zeros(1, 3, *self.size, dtype=torch.uint8)
        return self.backend.extract_features(black, Modality.VISIBLE).shape[1]

    @property
    def model_info(self) -> ModelInfo:
        """What feature files and galleries store of the model."""
        return ModelInfo(self.fingerprint, self.dimension, self.about)

    def attention(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        modality: ModalityInput | None = None,
    ) -> list[AttentionMap]:
        """PALM's attention over images; empty if the model has none.

        Args:
            images: As for :meth:`extract`.
            modality: As for :meth:`extract`.

        Raises:
            VireidError: As :meth:`extract`.
        """
        found = []
        for given in given_images(images, modality):
            image = decode_given(given, self.size, self.tone_mapping)
            maps = self.attention_of_pixels(_as_batch([image]), image.record.modality)
            found += [AttentionMap(image.record, weights, self.grid) for weights in maps]
        return found

    def attention_of_pixels(self, image: Tensor, modality: Modality) -> list[NDArray[np.float32]]:
        """PALM's attention over a decoded image.

        Args:
            image: uint8 ``[1, 3, H, W]`` of ``size``.
            modality: The modality; it selects the stream.

        Returns:
            float32 ``[N, N]`` for each PALM, over the N positions of ``grid``, row-major.
        """
        with self._lock:
            return self.backend.attention(image, modality)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the feature map that PALM attends over."""
        height, width = self.size
        # Every backbone halves the size four times, rounding up.
        return -(-height // 16), -(-width // 16)

    def translate(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        modality: ModalityInput | None = None,
    ) -> list[Translation]:
        """Images in the other modality; empty if the model does not translate.

        Args:
            images: As for :meth:`extract`.
            modality: As for :meth:`extract`.

        Raises:
            VireidError: As :meth:`extract`.
        """
        found = []
        for given in given_images(images, modality):
            image = decode_given(given, self.size, self.tone_mapping)
            translated = self.backend.translate(_as_batch([image]), image.record.modality)
            if translated is None:
                return []
            found.append(Translation(image.record, *translated))
        return found

    def _extract_given(
        self,
        given: Iterable[GivenImage],
        batch_size: int,
        flip: bool,
        progress: bool,
        stack: ImageStack | None,
    ) -> tuple[NDArray[np.float32], list[ImageRecord]]:
        """The features and the records of images, in their order."""

        def decode(numbered: tuple[int, GivenImage]) -> tuple[int, DecodedImage]:
            index, image = numbered
            if stack is None:
                return index, decode_given(image, self.size, self.tone_mapping)
            pixels = stack.fetch([index])[0].permute(1, 2, 0).numpy()
            return index, DecodedImage(image.record, False, pixels)

        order, records, rows = list[int](), list[ImageRecord](), list[NDArray[np.float32]]()
        guessed, remarks = Counter[Modality](), Counter[str]()
        with tqdm(
            total=len(given) if isinstance(given, list) else None,
            desc="extracting",
            unit="image",
            disable=None if progress and is_main_process() else True,
        ) as bar:
            for batch in prefetch_each(decode, _batches(given, batch_size)):
                order += [index for index, _ in batch]
                images = [image for _, image in batch]
                records += [image.record for image in images]
                guessed.update(image.record.modality for image in images if image.guessed)
                remarks.update(remark for image in images for remark in image.remarks)
                modalities = [image.record.modality for image in images]
                cameras = [image.record.camera_name for image in images]
                pixels = _as_batch(images)
                rows.append(self.extract_pixels(pixels, modalities, cameras=cameras, flip=flip))
                bar.update(len(batch))
        if guessed and progress:
            log(f"{describe_guesses(guessed)} Override with modality=.")
        if progress:
            log_converted(remarks)
        values = np.empty((len(order), self.dimension), dtype=np.float32)
        if rows:
            values[order] = np.concatenate(rows)
        return values, [record for _, record in sorted(zip(order, records, strict=True))]


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch size out of range.

    Raises:
        ConfigError: It is not positive.
    """
    if batch_size < 1:
        raise ConfigError(f"--batch-size {batch_size} is out of range; expected at least 1.")


def _batches(
    given: Iterable[GivenImage], batch_size: int
) -> Iterator[list[tuple[int, GivenImage]]]:
    """Numbered images in batches: those of a list by modality, others in their order."""
    groups: list[Iterable[tuple[int, GivenImage]]] = [enumerate(given)]
    if isinstance(given, list):
        groups = [
            [(i, image) for i, image in enumerate(given) if image.modality is modality]
            for modality in (*Modality, None)
        ]
    for group in map(iter, groups):
        while batch := list(itertools.islice(group, batch_size)):
            yield batch


def _as_batch(images: Sequence[DecodedImage]) -> Tensor:
    """Images as uint8 ``[n, 3, H, W]`` in channels-last memory."""
    return torch.from_numpy(np.stack([image.pixels for image in images])).permute(0, 3, 1, 2)


def load(
    model: str | os.PathLike[str],
    *,
    device: Device | None = None,
    precision: Precision | None = None,
    tone_mapping: str = "",
) -> FeatureExtractor:
    """Load the model of a finished run, an export, an installed model, or a plugin's model.

    Args:
        model: The run folder, the folder that `vireid export` wrote, the name of an installed
            model (`vireid models`), or what the backend of a plugin opens.
        device: The device; the one used for training by default. An export runs on the CPU.
        precision: The precision; that of training by default. That of an export is fixed.
        tone_mapping: How images of more than 8 bits are mapped to 8, as
            :mod:`vireid.data.tone_mapping` writes it; as in training by default.

    Raises:
        RunError: If it is no run folder and no installed model, or not finished, or damaged.
        ExportError: If it is a damaged export, or a package that runs it is missing.
        ConfigError: If another device or a precision is requested of an export.
        PluginError: If the run needs a plugin that is missing or was changed.
    """
    own = {TONE_MAPPING: str(ToneMapping.parse(tone_mapping))} if tone_mapping else {}
    if other := open_by_plugin(Path(model), device or "auto"):
        return FeatureExtractor(other[0], about=other[1] | own)
    export = is_export(Path(model))
    folder = RunFolder(Path(model)) if export else resolve_model(os.fspath(model))
    if export:
        if device == "cuda" or precision is not None:
            option = f"the device '{device}'" if device == "cuda" else f"precision '{precision}'"
            raise ConfigError(
                f"'{folder.path}' is an export, which runs on the CPU in a fixed precision;"
                f" {option} does not apply: leave the option out, or load its run."
            )
        exported, about = open_export(folder.path)
        return FeatureExtractor(exported, about=about | own)
    run = folder.read_config()
    backend = TorchBackend(
        trained_network(folder, run),
        device=device or run.device,
        precision=precision or run.precision,
    )
    return FeatureExtractor(backend, about=about_run(run) | own)


def open_by_plugin(path: Path, device: Device) -> tuple[FeatureBackend, dict[str, str]] | None:
    """Open a model by the backend of a plugin; None if it is a run or an export, or none knows it.

    Args:
        path: The file or folder of the model.
        device: The device.

    Returns:
        The model, and its description as text by name, for results.

    Raises:
        PluginError: A backend cannot be loaded, or returns something else than a FeatureBackend.
    """
    if not path.exists() or RunFolder(path).config_file.exists() or is_export(path):
        return None
    for name in plugins("backends"):
        open_model = declared("backends", name)
        found = open_model(path, device=device) if open_model else None
        if found is None:
            continue
        if not isinstance(found, FeatureBackend):
            raise PluginError(
                f"The backend '{name}' opens '{path}' as a '{type(found).__name__}'; expected a "
                "vireid.features.FeatureBackend, or None for a model that it does not know."
            )
        return found, {"recipe": path.name, "backend": f"{origin('backends', name)}", **found.about}
    return None


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
    method = replace(run.recipe.method, weights="none")
    advice = "its config.yaml was changed after training; undo the change"

    def load(network: Method, tensors: Mapping[str, Tensor]) -> Method:
        load_exactly(network, tensors, source=f"'{folder.model_file}'", advice=advice)
        return network

    try:
        # First without memory: an edited config.yaml may describe a network of any size.
        with torch.device("meta"):
            load(method.build(classes=classes), {k: v.to("meta") for k, v in state.items()})
        return load(method.build(classes=classes), state)
    except (WeightsError, RuntimeError, OverflowError) as error:
        raise RunError(f"The network of '{folder.path}' cannot be loaded: {error}") from error


def about_run(run: Run) -> dict[str, str]:
    """The description of a run, for results."""
    method, optimisation = run.recipe.method, run.recipe.optimisation
    return {
        "recipe": run.name,
        **method.about(),
        **({"weights": str(run.start)} if run.start else {}),
        **({"adaptation": str(run.adaptation)} if run.adaptation else {}),
        "epochs": str(optimisation.epochs),
        "seed": str(run.seed),
        "precision": run.precision,
        TONE_MAPPING: run.tone_mapping,
        "model": "last epoch" if run.select == "last" else "best epoch on validation identities",
    }
