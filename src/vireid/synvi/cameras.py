"""The cameras: position, illumination and sensor of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from vireid.synvi.environments import Environment, garden, hall, office, plaza, street, yard
from vireid.synvi.materials import Band

__all__ = ["Camera", "Illumination", "Sensor", "Triple", "regdb_cameras", "sysu_cameras"]

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Illumination:
    """Illumination of a camera's environment.

    Attributes:
        key: Direction towards the key light (sun, main lamp); any length.
        key_colour: Its radiance; zeros switch it off.
        sky: Light from above.
        ground: Light from below.
        fill: Direction towards a second light without shadow.
        fill_colour: Its radiance.
        lamp: Power of the illuminator next to the lens (arbitrary units); 0 for none.
        lamp_cone: How narrow its beam is.
        haze: Radiance of the background.
    """

    key: Triple = (0.3, -0.5, 1.0)
    key_colour: Triple = (0.0, 0.0, 0.0)
    sky: Triple = (0.5, 0.5, 0.5)
    ground: Triple = (0.2, 0.2, 0.2)
    fill: Triple = (0.0, -1.0, 0.5)
    fill_colour: Triple = (0.0, 0.0, 0.0)
    lamp: float = 0.0
    lamp_cone: float = 6.0
    haze: Triple = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Sensor:
    """What a camera does to radiance.

    Attributes:
        exposure: Gain before the tone curve.
        spread: Spread of the exposure from image to image (log).
        balance: White balance gains.
        saturation: 1 keeps colours as they are.
        contrast: Strength of the S-shaped tone curve, 0 = none.
        shot: Variance of the noise per unit of signal.
        read: Standard deviation of the noise in the dark.
        blur: Standard deviation of the lens blur, pixels.
        motion: Longest motion blur, pixels.
        vignette: Darkening towards the corners of the crop.
        quality: Lowest and highest JPEG quality.
        black_hot: Thermal: warm is dark.
        gain: Thermal: contrast about the middle of the range after the automatic gain.
        level: Thermal: brightness added after the automatic gain, of a range of 1.
        halo: Thermal: strength of the dark ring about warm areas.
        drift: Thermal: amplitude of the slow non-uniformity over the image, of a range of 1.
    """

    exposure: float = 1.0
    spread: float = 0.12
    balance: Triple = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    contrast: float = 0.3
    shot: float = 0.0006
    read: float = 0.006
    blur: float = 0.55
    motion: float = 2.0
    vignette: float = 0.0
    quality: tuple[int, int] = (80, 93)
    black_hot: bool = False
    gain: float = 1.0
    level: float = 0.0
    halo: float = 0.0
    drift: float = 0.0


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    Attributes:
        number: As the data set counts, from 1.
        band: Its spectral band.
        environment: What it looks at.
        eye: Where it hangs (m).
        target: What it points to.
        walk: Where people walk: least and greatest x, then y (m).
        heights: Least and greatest height of a crop, pixels.
        light: The illumination.
        sensor: The sensor.
        hidden: Share of images with something before the person.
    """

    number: int
    band: Band
    environment: Environment
    eye: Triple
    target: Triple
    walk: tuple[float, float, float, float]
    heights: tuple[int, int]
    light: Illumination
    sensor: Sensor = field(default_factory=Sensor)
    hidden: float = 0.1


def sysu_cameras() -> tuple[Camera, ...]:
    """The six cameras of the SYSU-MM01 form."""
    return (
        Camera(
            1, "visible", hall(), (0.8, -4.4, 2.6), (0.0, 0.6, 0.9), (-1.3, 1.3, -0.9, 1.6),
            (220, 320),
            Illumination(
                key=(-0.25, -0.35, 1.0), key_colour=(0.85, 0.9, 0.95), sky=(0.62, 0.66, 0.68),
                ground=(0.3, 0.28, 0.25), fill=(0.8, -0.6, 0.7), fill_colour=(0.32, 0.34, 0.36),
            ),
            Sensor(exposure=0.82, balance=(0.97, 1.0, 1.03), shot=0.0008, read=0.007),
        ),
        Camera(
            2, "visible", office(), (-1.5, -3.9, 1.8), (0.1, 0.6, 0.95), (-1.1, 1.3, -0.8, 1.3),
            (240, 340),
            Illumination(
                key=(-0.7, 0.5, 0.9), key_colour=(0.75, 0.66, 0.5), sky=(0.5, 0.44, 0.35),
                ground=(0.26, 0.19, 0.13), fill=(0.7, -0.7, 0.6), fill_colour=(0.36, 0.31, 0.24),
            ),
            Sensor(
                exposure=0.98, balance=(1.02, 1.0, 0.88), shot=0.0012, read=0.01, saturation=0.92
            ),
        ),
        Camera(
            3, "near-infrared", office(), (-0.6, -4.1, 2.05), (0.2, 0.6, 0.95),
            (-1.1, 1.3, -0.9, 1.3), (220, 320),
            Illumination(
                sky=(0.05, 0.05, 0.05), ground=(0.04, 0.04, 0.04), lamp=17.0, lamp_cone=5.0
            ),
            Sensor(
                exposure=1.0, spread=0.15, contrast=0.6, shot=0.0006, read=0.008, blur=0.7,
                motion=2.5, vignette=0.25, quality=(75, 90),
            ),
        ),
        Camera(
            4, "visible", plaza(), (1.6, -7.2, 3.1), (-0.1, 0.8, 0.9), (-1.6, 1.6, -1.5, 1.8),
            (200, 320),
            Illumination(
                key=(0.75, -0.55, 0.95), key_colour=(1.9, 1.75, 1.5), sky=(0.42, 0.5, 0.64),
                ground=(0.2, 0.18, 0.16), haze=(0.5, 0.65, 0.9),
            ),
            Sensor(exposure=0.68, contrast=0.45, shot=0.0004, read=0.004, saturation=1.08),
        ),
        Camera(
            5, "visible", garden(), (-1.4, -6.2, 2.3), (0.1, 0.8, 0.9), (-1.5, 1.6, -1.2, 1.6),
            (200, 320),
            Illumination(
                key=(-0.5, -0.4, 1.2), key_colour=(0.35, 0.35, 0.33), sky=(0.85, 0.9, 0.95),
                ground=(0.17, 0.2, 0.13), haze=(0.75, 0.8, 0.85),
            ),
            Sensor(
                exposure=1.05, balance=(0.96, 1.02, 0.98), saturation=0.88, contrast=0.2,
                shot=0.0007, read=0.006, blur=0.75,
            ),
        ),
        Camera(
            6, "near-infrared", yard(), (0.5, -5.4, 2.5), (0.0, 0.8, 0.95), (-1.3, 1.3, -1.2, 1.6),
            (190, 300),
            Illumination(
                sky=(0.012, 0.012, 0.012), ground=(0.01, 0.01, 0.01), lamp=30.0, lamp_cone=16.0
            ),
            Sensor(
                exposure=1.15, spread=0.2, contrast=0.6, shot=0.0009, read=0.011, blur=0.75,
                motion=3.0, vignette=0.3, quality=(70, 88),
            ),
        ),
    )  # fmt: skip


def regdb_cameras() -> tuple[Camera, ...]:
    """The visible and the thermal camera of the RegDB form."""
    return (
        Camera(
            1, "visible", street(), (0.8, -8.0, 5.2), (0.0, 0.6, 0.8), (-1.8, 1.8, -1.3, 2.2),
            (128, 128),
            Illumination(
                key=(0.6, -0.6, 1.0), key_colour=(1.1, 1.03, 0.92), sky=(0.52, 0.58, 0.66),
                ground=(0.2, 0.19, 0.17), haze=(0.6, 0.7, 0.85),
            ),
            Sensor(exposure=0.72, shot=0.0006, read=0.006, blur=0.5, motion=0.8),
            hidden=0.04,
        ),
        Camera(
            2, "thermal", street(), (0.2, -8.1, 5.2), (0.0, 0.6, 0.8), (-1.8, 1.8, -1.3, 2.2),
            (128, 128),
            Illumination(haze=(0.12, 0.12, 0.12)),
            Sensor(
                exposure=1.0, spread=0.06, contrast=0.0, shot=0.0, read=0.016, blur=1.0,
                motion=1.0,
            ),
            hidden=0.04,
        ),
    )  # fmt: skip
