"""From radiance to the bytes of a file: exposure, blur, noise, tone curve, compression."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.synvi.cameras import Sensor
from vireid.synvi.materials import Band

__all__ = ["develop", "encode_bmp", "encode_jpeg"]

Radiance = NDArray[np.float32]


def _smear(image: Radiance, taps: NDArray[np.float32], axis: int) -> Radiance:
    """Convolve along one axis, edges repeated."""
    reach = len(taps) // 2
    if reach == 0:
        return image
    pad = [(0, 0)] * image.ndim
    pad[axis] = (reach, reach)
    padded = np.pad(image, pad, mode="edge")
    length = image.shape[axis]
    total = np.zeros_like(image)
    for shift, tap in enumerate(taps):
        window = [slice(None)] * image.ndim
        window[axis] = slice(shift, shift + length)
        total += tap * padded[tuple(window)]
    return total


def _bell(sigma: float) -> NDArray[np.float32]:
    """Taps of a Gaussian."""
    reach = max(1, int(np.ceil(2.5 * sigma)))
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offsets / max(sigma, 1e-3)) ** 2)
    return np.asarray(taps / taps.sum(), dtype=np.float32)


def _ramp(length: float) -> NDArray[np.float32]:
    """Taps of a box of a fractional length."""
    reach = int(np.ceil((length - 1) / 2))
    if reach <= 0:
        return np.ones(1, dtype=np.float32)
    taps = np.ones(2 * reach + 1)
    taps[0] = taps[-1] = (length - (2 * reach - 1)) / 2
    return np.asarray(taps / taps.sum(), dtype=np.float32)


def _tone(linear: Radiance, contrast: float) -> Radiance:
    """Gamma and a mild S-curve."""
    clipped = np.clip(linear, 0.0, 1.0)
    gamma = np.where(clipped < 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    curve = gamma * gamma * (3 - 2 * gamma)
    return np.asarray((1 - contrast) * gamma + contrast * curve, dtype=np.float32)


def _stretched(image: Radiance, sensor: Sensor, rng: np.random.Generator) -> Radiance:
    """Halo, contrast, non-uniformity and polarity of a thermal image in a range of 0 to 1."""
    height, width = image.shape[:2]
    if sensor.halo > 0:
        wide = _bell(0.06 * height)
        image = image + np.float32(sensor.halo) * (image - _smear(_smear(image, wide, 0), wide, 1))
    if sensor.gain != 1 or sensor.level:
        image = np.float32(sensor.gain) * (image - np.float32(0.5)) + np.float32(0.5 + sensor.level)
    if sensor.drift > 0:
        angle, phase, waves = rng.uniform(0, 2 * np.pi, 3)
        y = np.arange(height)[:, None, None] / height
        x = np.arange(width)[None, :, None] / height
        across = np.cos(angle) * x + np.sin(angle) * y
        image = image + (sensor.drift * np.sin(waves * across + phase)).astype(np.float32)
    return np.float32(1) - image if sensor.black_hot else image


def develop(
    radiance: Radiance, sensor: Sensor, band: Band, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Turn radiance into an 8-bit image.

    Args:
        radiance: Linear radiance, float32 ``[h, w, 3]``.
        sensor: The camera's sensor.
        band: The spectral band; only visible images have colours.
        rng: Source of the image's noise.

    Returns:
        The image, uint8 ``[h, w, 3]``; infrared ones have three equal channels.
    """
    image = radiance.astype(np.float32)
    if band != "visible":
        image = image[:, :, :1]
    image = image * np.float32(sensor.exposure * np.exp(rng.normal(0, sensor.spread)))
    if band == "visible":
        tint = np.array(sensor.balance) * np.exp(rng.normal(0, 0.03, 3))
        image = image * tint.astype(np.float32)
        grey = image.mean(axis=2, keepdims=True)
        image = np.maximum(grey + sensor.saturation * (image - grey), 0)
    blur = float(rng.uniform(0.8, 1.3)) * sensor.blur
    image = _smear(_smear(image, _bell(blur), 0), _bell(blur), 1)
    image = _smear(image, _ramp(float(rng.uniform(1.0, max(sensor.motion, 1.0)))), 1)
    height, width = image.shape[:2]
    if sensor.vignette > 0:
        y = (np.arange(height) / height - 0.5)[:, None, None]
        x = (np.arange(width) / width - 0.5)[None, :, None]
        # The beam's centre is not the box's.
        off_y, off_x = rng.uniform(-0.25, 0.25, 2)
        fall = 1 - sensor.vignette * 2 * ((x - off_x) ** 2 + (y - off_y) ** 2)
        image = image * fall.astype(np.float32)
    if band == "thermal":
        # The camera stretches its range, and has a fixed column pattern.
        low, high = np.quantile(image, 0.01) - 0.06, np.quantile(image, 0.995) + 0.05
        image = (image - np.float32(low)) / np.float32(max(float(high - low), 0.1))
        image = _stretched(image, sensor, rng)
        image = image + rng.normal(0, 0.008, (1, width, 1)).astype(np.float32)
        image = image + rng.normal(0, sensor.read, image.shape).astype(np.float32)
        picture = np.clip(image, 0, 1)
    else:
        spread = np.sqrt(sensor.shot * np.maximum(image, 0) + sensor.read**2 * 0.25)
        image = image + spread * rng.standard_normal(image.shape, dtype=np.float32)
        picture = _tone(image, sensor.contrast)
    levels = np.round(picture * 255).astype(np.uint8)
    return levels if band == "visible" else np.repeat(levels, 3, axis=2)


def encode_jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an image as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=2)
    return buffer.getvalue()


def encode_bmp(picture: NDArray[np.uint8]) -> bytes:
    """Encode an image as a 24-bit Windows bitmap."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "BMP")
    return buffer.getvalue()
