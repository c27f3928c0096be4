"""Detectors of people: a frame in, boxes out.

A detector is any object with a method ``boxes``, see :class:`Detector`. NanoDet-g
(RangiLyu/nanodet, Apache-2.0) comes with the package ``vireid-models``.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.data.inspection import GREY_BELOW, mean_chroma
from vireid.errors import ConfigError, PluginError
from vireid.models import installed_models, name_installed
from vireid.optional_packages import package, quiet
from vireid.plugins import declared, plugins

__all__ = ["Detector", "NanoDet", "frame_chroma", "installed_detector", "load_detector"]

_INSTALLED = "nanodet"
"""The detector's name among the installed models."""
_THRESHOLD = 0.25
"""Least score of a box. The tracker starts tracklets from higher ones only."""
_OVERLAP = 0.5
"""Intersection over union above which the lower of two boxes is removed."""


@runtime_checkable
class Detector(Protocol):
    """Finds people in frames."""

    name: str
    """Its name and version: a run is only continued with the detector it was begun with."""

    def boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Find the people in a frame.

        Args:
            frame: RGB, uint8 ``[H, W, 3]``, upright.

        Returns:
            One row for each person, float32 ``[n, 5]``: left, top, right and bottom in pixels,
            which may lie outside the frame, and a score in [0, 1].
        """


class _Network:
    """An OpenVINO network on the CPU, loaded on first use."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @cached_property
    def _request(self) -> Any:
        openvino = package("openvino", extra="video")
        threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or len(os.sched_getaffinity(0))
        with quiet():
            compiled = openvino.Core().compile_model(
                str(self._file),
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": threads,
                    # Pinned to a core, it waits for whatever else runs there.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        return compiled.create_infer_request()

    def run(self, images: NDArray[Any]) -> list[NDArray[np.float32]]:
        """All outputs for one input, in the order of the graph."""
        answer = self._request.infer([images])
        return [np.array(output) for output in answer.values()]


class NanoDet:
    """NanoDet-g on COCO, of whose 80 classes the first, person, is used.

    A frame without colours is searched inverted, too, at twice the cost: thermal cameras show warm
    people bright or dark, and the network was trained on photographs in visible light only.

    Args:
        file: The OpenVINO IR (``.xml``, with its ``.bin``).
    """

    _SIDE = 416
    _STRIDES = (8, 16, 32)
    _BINS = 11

    def __init__(self, file: Path) -> None:
        self._network = _Network(file)
        digest = hashlib.sha256(file.read_bytes() + file.with_suffix(".bin").read_bytes())
        self.name = f"nanodet-g 2 ({digest.hexdigest()[:8]})"

    def boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As :meth:`Detector.boxes`."""
        image, scale = _fitted(frame, self._SIDE)
        found = self._found(image)
        if frame_chroma(frame) < GREY_BELOW:
            found = np.concatenate([found, self._found(255 - image)])
        found[:, :4] /= scale
        return _without_overlaps(found)

    def _found(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """All boxes above the threshold in a frame that was resized."""
        padded = np.zeros((self._SIDE, self._SIDE, 3), dtype=np.float32)
        # BGR, as it was trained.
        padded[: image.shape[0], : image.shape[1]] = image[:, :, ::-1]
        values = (padded - _BGR_MEAN) / _BGR_DEVIATION
        outputs = self._network.run(values.transpose(2, 0, 1)[None])
        found = [
            self._decoded(scores[0, :, 0], distances[0], stride)
            for scores, distances, stride in zip(
                outputs[:3], outputs[3:], self._STRIDES, strict=True
            )
        ]
        return np.concatenate(found)

    def _decoded(
        self, scores: NDArray[np.float32], distances: NDArray[np.float32], stride: int
    ) -> NDArray[np.float32]:
        """The boxes of one feature map above the threshold, in pixels of the input."""
        [places] = np.nonzero(scores > _THRESHOLD)
        bins = distances[places].reshape(-1, 4, self._BINS)
        shares = np.exp(bins - bins.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        left, top, right, bottom = (shares @ np.arange(self._BINS, dtype=np.float32)).T * stride
        y, x = np.divmod(places, self._SIDE // stride)
        x, y = (x + 0.5) * stride, (y + 0.5) * stride
        rows = np.stack([x - left, y - top, x + right, y + bottom, scores[places]], axis=1)
        return rows.astype(np.float32)


_BGR_MEAN = np.array([103.53, 116.28, 123.675], dtype=np.float32)
_BGR_DEVIATION = np.array([57.375, 57.12, 58.395], dtype=np.float32)


def frame_chroma(frame: NDArray[np.uint8]) -> float:
    """The mean chroma of a frame, of every fourth pixel in both directions."""
    return mean_chroma([frame[::4, ::4]])


def _fitted(frame: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """A frame as large as fits into a square, and the scale."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Pillow averages when it shrinks; two of its steps are as good and quicker for large frames.
    small = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small), scale


def _without_overlaps(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Non-maximum suppression."""
    supervision = package("supervision", extra="video")
    kept: NDArray[np.bool_] = supervision.box_non_max_suppression(boxes, iou_threshold=_OVERLAP)
    return boxes[kept]


def installed_detector() -> NanoDet | None:
    """The detector of `vireid-models`; None if it is not installed."""
    model = installed_models().get(_INSTALLED)
    return NanoDet(model.path / f"{_INSTALLED}.xml") if model else None


def load_detector(name: str = _INSTALLED) -> Detector:
    """Load a detector.

    Args:
        name: ``nanodet`` (`vireid models`), the path of a NanoDet-g in OpenVINO's format, or the
            name that a plugin declares.

    Raises:
        ConfigError: There is no such detector.
        ExportError: A package is not installed.
        PluginError: The plugin's detector cannot be loaded, or is none.
    """
    if name.endswith(".xml") and Path(name).is_file():
        return NanoDet(Path(name))
    if name == _INSTALLED and (installed := installed_detector()):
        return installed
    own = declared("detectors", name)
    if own is None:
        known = " or ".join([_INSTALLED, *plugins("detectors")])
        raise ConfigError(
            f"--detector '{name}' is no installed detector; expected {known}, or the path of a"
            f" NanoDet-g (.xml); {name_installed('detection')}."
        )
    detector = own()
    if not isinstance(detector, Detector):
        raise PluginError(
            f"The plugin's detector '{name}' is a '{type(detector).__name__}'; expected an object"
            " with a name and a method boxes, as vireid.video.Detector."
        )
    return detector
