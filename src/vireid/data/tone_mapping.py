"""Tone mapping: pixels of more than 8 bits, as thermal and machine-vision cameras write them, as 8.

A tone mapping is written ``auto``, ``full``, ``percentile:1:99``, ``bounds:29000:31000`` or
``celsius:10:40``, and with bounds per camera ``bounds:yard=29000:31000,gate=28500:30500``. This one
form is the flag, the line in ``config.yaml`` and the name in results, feature files, galleries and
packed caches. Images of 8 bits are never changed.

==========  ======================================================================================
full        0 to the highest value that the file's depth can hold becomes 0 to 255
percentile  each image: its percentiles 1 and 99, or those given, become 0 and 255
bounds      the given values become 0 and 255
celsius     the given degrees Celsius become 0 and 255: integers are hundredths of a kelvin, as
            radiometric cameras write them (value / 100 - 273.15), floating-point values degrees
auto        see below
==========  ======================================================================================

Where no bounds are given for an image's camera, it is mapped by ``auto``.

``auto`` is decided by the file alone. Its depth is 16 bits unless the file says less (PNG: sBIT;
TIFF: BitsPerSample, or a MaxSampleValue of 511, 1023, ... 32767; PGM and PPM: such a maximum).

1. Integers of which all are 0 to 255, at a depth of 16 bits, are 8-bit values.
2. Integers that are all multiples of 257, or all of 256, are 8-bit values that were scaled.
3. Otherwise the span between the percentiles 1 and 99 of the values other than 0 and the highest,
   which are padding or dead or saturated pixels, decides: below a quarter of the depth's range
   the image is mapped by ``percentile``, from half of it on by ``full``. In between, the two bounds
   move linearly from the one to the other. So neither a single hot pixel nor a slightly larger span
   changes the mapping of an image from that of its neighbour.
4. Floating-point values, and integers outside 0 to 65,535, have no range to fill: ``percentile``.

Example:
    >>> ToneMapping.parse("bounds:yard=29000:31000").of("yard")
    ToneMapping(kind='bounds', bounds=(Bounds(low=29000.0, high=31000.0, camera=''),))
    >>> mapped = ToneMapping("percentile").apply(np.array([[29_000, 30_000, 31_000]], np.uint16))
    >>> mapped.pixels.tolist()
    [[0, 128, 255]]
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError, first_few

__all__ = [
    "AUTO",
    "ROWS",
    "TONE_MAPPING",
    "Bounds",
    "Mapped",
    "Strips",
    "ToneMapping",
    "ToneMappingError",
    "Window",
]

TONE_MAPPING = "tone mapping"
"""The name of the tone mapping in the description of a model."""

Kind = Literal["auto", "full", "percentile", "bounds", "celsius"]

_HIGHEST = 65_535
ROWS = 64
"""Rows of an image that are converted at a time, to bound the memory."""
Strips = Callable[[], Iterable[NDArray[Any]]]
"""Returns the values of an image from top to bottom, ``[ROWS, W]`` or ``[ROWS, W, C]``, each time
that it is called."""
_FULL = "scaled by their full range, 0 to {:,}"
_STRETCHED = "stretched between the percentiles {:g} and {:g} of each image"
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_BOUNDS = re.compile(rf"(?:([^=]+?)=)??({_NUMBER}):({_NUMBER})(?:,|$)")
_FORMS = (
    "auto, full, percentile, percentile:LOW:HIGH, bounds:LOW:HIGH, celsius:LOW:HIGH, or bounds per"
    " camera such as bounds:yard=29000:31000,gate=28500:30500"
)


class ToneMappingError(ValueError):
    """Values that a tone mapping does not apply to."""


class Bounds(NamedTuple):
    """The two values that become 0 and 255.

    Attributes:
        low: The lower one: a pixel value, a percentile or degrees Celsius.
        high: The upper one.
        camera: The camera they are for; empty: all cameras without bounds of their own.
    """

    low: float
    high: float
    camera: str = ""

    def __str__(self) -> str:
        return f"{self.camera}{'=' if self.camera else ''}{self.low:.12g}:{self.high:.12g}"


class Window(NamedTuple):
    """The values of an image that become 0 and 255.

    Attributes:
        start: The value that becomes 0.
        end: The value that becomes 255.
        how: How they were found, in words.
        low: The 1st percentile of the finite values, without 0 and the highest one.
        high: Their 99th percentile.
        highest: The highest value that the file's depth can hold; 0 if it has no such limit.
        undefined: Whether some pixels are NaN or infinite; NaN becomes 0.
    """

    start: float
    end: float
    how: str
    low: float
    high: float
    highest: int
    undefined: bool

    def map(self, strips: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.uint8]]:
        """Map values to 8 bits; yields uint8, of the shapes of the strips."""
        table = _scaled(np.arange(2**16), self.start, self.end)
        for strip in strips:
            known = strip.dtype == np.uint16
            yield table[strip] if known else _scaled(strip, self.start, self.end)


class Mapped(NamedTuple):
    """An image of 8 bits, and how it was mapped.

    Attributes:
        pixels: uint8, of the shape of the values.
        window: The values that became 0 and 255.
    """

    pixels: NDArray[np.uint8]
    window: Window


@dataclass(frozen=True, slots=True)
class ToneMapping:
    """How pixels of more than 8 bits become 8; see :mod:`vireid.data.tone_mapping`.

    Attributes:
        kind: The kind.
        bounds: Percentiles, values or degrees Celsius.

    Raises:
        ConfigError: If bounds are missing, given where they do not apply, or not in order.
    """

    kind: Kind = "auto"
    bounds: tuple[Bounds, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "percentile" and not self.bounds:
            object.__setattr__(self, "bounds", (Bounds(1, 99),))
        cameras = [own.camera for own in self.bounds]
        most = 100.0 if self.kind == "percentile" else math.inf
        least = 0.0 if self.kind == "percentile" else -math.inf
        if (
            self.kind not in get_args(Kind)
            or bool(self.bounds) == (self.kind in ("auto", "full"))
            or len(set(cameras)) < len(cameras)
            or not all(least <= own.low < own.high <= most for own in self.bounds)
        ):
            raise _wrong(str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form.

        Raises:
            ConfigError: If it is none.
        """
        kind, _, rest = text.partition(":")
        found = list(_BOUNDS.finditer(rest))
        if "".join(one[0] for one in found) != rest or text.endswith((":", ",")):
            raise _wrong(text)
        bounds = [Bounds(float(one[2]), float(one[3]), one[1] or "") for one in found]
        return cls(cast(Kind, kind), tuple(bounds))

    @classmethod
    def named_in(cls, about: Mapping[str, str]) -> Self:
        """That which a model's description names; ``auto`` in one of an earlier version."""
        return cls.parse(about.get(TONE_MAPPING, "auto"))

    def __str__(self) -> str:
        return ":".join([self.kind, *([",".join(map(str, self.bounds))] if self.bounds else [])])

    def of(self, camera: str) -> ToneMapping:
        """The mapping of one camera's images."""
        by_camera = {own.camera: own for own in self.bounds}
        own = by_camera.get(camera, by_camera.get(""))
        if own is None:
            return AUTO if self.bounds else self
        return ToneMapping(self.kind, (own._replace(camera=""),))

    def unknown(self, cameras: Collection[str]) -> str:
        """Which cameras have bounds but no images, as a sentence; empty if there is none."""
        absent = [own.camera for own in self.bounds if own.camera and own.camera not in cameras]
        if not absent:
            return ""
        known = first_few(sorted(cameras))
        return (
            f"The tone mapping '{self}' has bounds for {first_few(absent)}, but the cameras are"
            f" {known}; expected names of these: the images of cameras without bounds are mapped by"
            " auto."
        )

    def apply(self, values: NDArray[Any], *, depth: int = 16) -> Mapped:
        """Map the values of one image.

        Args:
            values: Integer or floating-point ``[H, W]`` or ``[H, W, C]``, of one image of one
                camera (:meth:`of`); channels are mapped together.
            depth: The bits that the file says its values have, up to 16.

        Raises:
            ToneMappingError: As :meth:`window`.
        """
        strips = [values[row : row + ROWS] for row in range(0, len(values), ROWS)]
        window = self.window(lambda: strips, depth=depth)
        return Mapped(np.concatenate(list(window.map(strips))), window)

    def window(self, strips: Strips, *, depth: int = 16) -> Window:
        """Find the values of one image that become 0 and 255.

        Args:
            strips: The values, as for :meth:`apply`, in strips; only values with fractions, and
                integers outside 0 to 65,535, are kept all at once.
            depth: As for :meth:`apply`.

        Raises:
            ToneMappingError: If the kind is ``full`` and there is no highest value, or no value
                is finite.
        """
        finite = _Finite.of(strips)
        if not finite.values.size:
            raise ToneMappingError("none of its pixels has a finite value; write it again")
        most = finite.values.max()
        highest = (
            (2**depth - 1 if most < 2**depth else _HIGHEST) if finite.counts is not None else 0
        )
        # Padding, dead and saturated pixels hold no measurement.
        measured = finite.between(0, highest) if highest else finite
        low, high = (measured if measured.values.size else finite).percentiles(1, 99)
        start, end, how = self._window(finite, highest, low, high)
        return Window(start, end, how, low, high, highest, finite.undefined)

    def _window(
        self, finite: _Finite, highest: int, low: float, high: float
    ) -> tuple[float, float, str]:
        """The values that become 0 and 255, and how they were found."""
        if self.kind == "auto":
            return _window_by_content(finite.values, highest, low, high)
        if self.kind == "full":
            if highest:
                return 0, highest, _FULL.format(highest)
            raise ToneMappingError(
                "its values have no highest one, as floating-point values and those outside 0 to"
                " 65,535; choose the tone mapping percentile, bounds or celsius"
            )
        start, end, _ = self.bounds[0]
        if self.kind == "percentile":
            return *finite.percentiles(start, end), _STRETCHED.format(start, end)
        unit = "" if self.kind == "bounds" else " °C"
        how = f"{start:.12g} to {end:.12g}{unit} become 0 to 255"
        if self.kind == "celsius" and np.issubdtype(finite.values.dtype, np.integer):
            start, end = (start + 273.15) * 100, (end + 273.15) * 100
        return start, end, how


AUTO = ToneMapping()
"""The default."""


def _wrong(text: str) -> ConfigError:
    return ConfigError(
        f"The tone mapping '{text}' is not valid; expected {_FORMS}; LOW is less than HIGH, and a"
        " camera has one pair of bounds."
    )


def _window_by_content(
    values: NDArray[Any], highest: int, low: float, high: float
) -> tuple[float, float, str]:
    """The values that become 0 and 255 in the kind ``auto``, and how they were found."""
    if highest == _HIGHEST and values.max() <= 255:
        return 0, 255, "taken as the 8-bit values that they are"
    if highest:
        for step in (257, 256):
            if not (values % step).any():
                return 0, 255 * step, "scaled back to the 8-bit values that they were"
    filled = (high - low) / highest if highest else 0.0
    if filled >= 0.5:
        return 0, highest, _FULL.format(highest)
    if filled <= 0.25:
        return low, high, _STRETCHED.format(1, 99)
    weight = 4 * filled - 1
    how = "stretched between their percentiles 1 and 99 and their full range"
    return low * (1 - weight), high * (1 - weight) + highest * weight, how


class _Finite(NamedTuple):
    """The finite values of an image.

    Attributes:
        values: The values ``[n]``; in ascending order, each once, where they are counted.
        counts: How often each value occurs, int64 ``[n]``, of integers of 0 to 65,535; None of
            others.
        undefined: Whether some pixels are NaN or infinite.
    """

    values: NDArray[Any]
    counts: NDArray[np.int64] | None = None
    undefined: bool = False

    @classmethod
    def of(cls, strips: Strips) -> Self:
        counts = np.zeros(2**16, np.int64)
        for strip in strips():
            if not np.issubdtype(strip.dtype, np.integer) or strip.min() < 0:
                break
            if strip.max() > _HIGHEST:
                break
            counts += np.bincount(strip.ravel().astype(np.intp), minlength=2**16)
        else:
            values = np.flatnonzero(counts)
            return cls(values, counts[values])
        kept = [(strip[np.isfinite(strip)], strip.size) for strip in strips()]
        values = np.concatenate([own for own, _ in kept])
        return cls(values, undefined=values.size < sum(size for _, size in kept))

    def between(self, low: int, high: int) -> Self:
        """The values between two others, which must be counted."""
        assert self.counts is not None
        kept = (self.values > low) & (self.values < high)
        return self._replace(values=self.values[kept], counts=self.counts[kept])

    def percentiles(self, low: float, high: float) -> tuple[float, float]:
        """Two different percentiles, or if they are equal the extremes; values of the image.

        That they are not interpolated makes the mapping independent of gain and offset, bit for
        bit.
        """
        if self.counts is None:
            start, end = np.percentile(self.values, [low, high], method="nearest").tolist()
        else:
            ends = self.counts.cumsum()
            # The same positions as numpy's.
            places = np.around((ends[-1] - 1) * np.true_divide([low, high], 100)).astype(np.intp)
            start, end = self.values[np.searchsorted(ends, places, side="right")].tolist()
        return (start, end) if start < end else (float(self.values.min()), float(self.values.max()))


def _scaled(values: NDArray[Any], start: float, end: float) -> NDArray[np.uint8]:
    with np.errstate(invalid="ignore"):  # signalling NaN
        levels = values.astype(np.float64)
    levels -= start
    levels *= 255
    levels /= (end - start) or 1  # an image of one value becomes black
    np.nan_to_num(levels, copy=False, nan=0)
    return np.rint(np.clip(levels, 0, 255, out=levels), out=levels).astype(np.uint8)
