"""The appearance of an identity: skin, hair, clothes, shoes and bags, in three bands.

Near-infrared reflectance and thermal warmth are drawn independently of the visible colour, as the
dyes of real cloth behave: a black and a red shirt may be equally bright to an infrared camera, two
equal blacks may differ. The bands share geometry: cuts, hems, bags, hair, and
the patterns whose dyes are visible in infrared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vireid.synvi.materials import RGB, Kind, Material

__all__ = ["COLOURFUL", "STREET", "Garment", "Outfit", "Wardrobe", "draw_outfit"]

Top = Literal["tshirt", "longsleeve", "sweater", "hoodie", "tank"]
Bottom = Literal["slim", "straight", "wide", "shorts", "skirt", "long-skirt", "leggings"]
Coat = Literal["none", "jacket", "open-jacket", "long-coat", "vest"]
Hair = Literal["bald", "short", "bob", "long", "bun", "ponytail", "afro"]
Hat = Literal["none", "beanie", "cap", "brim"]

# Linear reflectances of everyday cloth; dark and neutral ones are worn most.
_CLOTH: tuple[tuple[RGB, float], ...] = (
    ((0.018, 0.018, 0.02), 4.0),  # black
    ((0.05, 0.052, 0.058), 2.5),  # charcoal
    ((0.018, 0.026, 0.065), 3.0),  # navy
    ((0.19, 0.19, 0.19), 2.0),  # grey
    ((0.42, 0.42, 0.41), 1.5),  # light grey
    ((0.72, 0.72, 0.7), 2.6),  # white
    ((0.05, 0.11, 0.25), 2.2),  # denim
    ((0.13, 0.25, 0.45), 1.2),  # light denim
    ((0.38, 0.03, 0.035), 1.4),  # red
    ((0.13, 0.02, 0.035), 0.9),  # burgundy
    ((0.03, 0.13, 0.05), 0.8),  # green
    ((0.12, 0.12, 0.045), 1.0),  # olive
    ((0.34, 0.25, 0.14), 1.4),  # beige
    ((0.13, 0.07, 0.035), 1.0),  # brown
    ((0.62, 0.44, 0.06), 0.7),  # yellow
    ((0.55, 0.17, 0.03), 0.6),  # orange
    ((0.55, 0.22, 0.28), 0.8),  # pink
    ((0.17, 0.06, 0.24), 0.6),  # purple
    ((0.05, 0.16, 0.5), 1.0),  # royal blue
    ((0.03, 0.26, 0.28), 0.6),  # teal
)
_CLOTH_ODDS = np.array([w for _, w in _CLOTH]) / sum(w for _, w in _CLOTH)


@dataclass(frozen=True, slots=True)
class Garment:
    """A piece of clothing or a bag: a cut and a material.

    Attributes:
        style: The cut; which ones there are depends on the piece.
        material: The cloth.
        length: Position of the lower hem, as a fraction of the cut's range.
        sleeve: Where the sleeves end, 0 shoulder to 1 wrist.
        loose: Distance of the cloth from the body, metres; of a bag, its scale.
    """

    style: str
    material: Material
    length: float = 1.0
    sleeve: float = 1.0
    loose: float = 0.008


@dataclass(frozen=True, slots=True)
class Outfit:
    """The appearance of an identity, except for the shape of its body.

    Attributes:
        skin: Skin; the second tone is that of brows and beard.
        eyes: Eyes.
        hair: Cut and material of the hair.
        beard: Strength of the beard, 0 to 1.
        top: The garment of the upper body.
        bottom: The garment of the legs.
        coat: The outer garment, or None.
        shoes: Shoes; length is the height of the shaft.
        hat: A hat, or None.
        scarf: A scarf, or None.
        backpack: A backpack, or None; loose is its scale.
        shoulder_bag: A bag hung across the body, or None; its length < 0.5 hangs on the left.
        hand_bag: A bag in a hand, or None; its length < 0.5 is in the left hand.
    """

    skin: Material
    eyes: Material
    hair: Garment
    beard: float
    top: Garment
    bottom: Garment
    coat: Garment | None
    shoes: Garment
    hat: Garment | None
    scarf: Garment | None
    backpack: Garment | None
    shoulder_bag: Garment | None
    hand_bag: Garment | None


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """How people dress.

    Attributes:
        plain: Factor on the odds of cloth without a pattern.
        dark: Factor on the odds of the first six, neutral dyes.
        muted: Greatest share of grey that is mixed into a dye.
        coats: Factor on the odds of coats and jackets.
        loose: Greatest factor on the distance of the cloth from the body.
        creases: Greatest depth of the creases, 0 to 1.
        warmth: Spread of the thermal radiance among garments of one cut.
        prints: Spread of the thermal radiance between the two tones of a pattern.
    """

    plain: float = 1.0
    dark: float = 1.0
    muted: float = 0.0
    coats: float = 1.0
    loose: float = 1.0
    creases: float = 0.0
    warmth: float = 0.09
    prints: float = 0.0


COLOURFUL = Wardrobe()
"""Distinct colours and patterns: the SYSU-MM01 and RegDB forms."""
STREET = Wardrobe(
    plain=2.2, dark=1.8, muted=0.7, coats=1.6, loose=2.0, creases=1.0, warmth=0.13, prints=0.06
)
"""Dark, grey and plain clothes as often as in the street: the worlds."""


def _dye(rng: np.random.Generator, wardrobe: Wardrobe) -> RGB:
    """A visible colour of cloth, linear RGB."""
    odds = _CLOTH_ODDS
    if wardrobe.dark != 1:
        odds = odds * np.where(np.arange(len(odds)) < 6, wardrobe.dark, 1.0)
        odds = odds / odds.sum()
    base = np.array(_CLOTH[rng.choice(len(_CLOTH), p=odds)][0])
    if wardrobe.muted:
        base = base + rng.uniform(0, wardrobe.muted) * (base.mean() - base)
    shade = base * np.exp(rng.normal(0, 0.18)) * np.exp(rng.normal(0, 0.06, 3))
    red, green, blue = np.clip(shade, 0.012, 0.82)
    return float(red), float(green), float(blue)


def _infrared_dye(rng: np.random.Generator) -> float:
    """A near-infrared reflectance of cloth; most dyes are bright there, carbon black is not."""
    return float(np.clip(0.05 + 0.75 * rng.beta(1.05, 1.2), 0.05, 0.8))


def _distinct(rng: np.random.Generator, first: RGB, wardrobe: Wardrobe) -> RGB:
    """A second colour that is distinct from the first."""
    second = _dye(rng, wardrobe)
    for _ in range(12):
        gap = np.abs(np.sqrt(np.array(first)) - np.sqrt(np.array(second))).max()
        if gap > 0.22:
            break
        second = _dye(rng, wardrobe)
    return second


_PATTERNS: dict[str, tuple[tuple[Kind, float], ...]] = {
    "top": (
        (Kind.PLAIN, 3.6),
        (Kind.BANDS, 1.6),
        (Kind.STRIPES, 0.7),
        (Kind.CHECKS, 1.3),
        (Kind.BLOCK, 1.8),
        (Kind.YOKE, 1.0),
        (Kind.HEM, 0.9),
        (Kind.DOTS, 0.5),
        (Kind.RING, 1.0),
        (Kind.MOTTLED, 0.6),
    ),
    "bottom": (
        (Kind.PLAIN, 6.0),
        (Kind.SEAM, 1.6),
        (Kind.CHECKS, 0.7),
        (Kind.STRIPES, 0.4),
        (Kind.MOTTLED, 0.8),
        (Kind.HEM, 0.7),
        (Kind.RING, 0.4),
    ),
    "coat": (
        (Kind.PLAIN, 5.0),
        (Kind.HEM, 1.0),
        (Kind.YOKE, 1.2),
        (Kind.RING, 1.0),
        (Kind.CHECKS, 0.6),
        (Kind.SEAM, 0.5),
    ),
    "carried": ((Kind.PLAIN, 4.0), (Kind.RING, 1.0), (Kind.BLOCK, 1.0)),
    "plain": ((Kind.PLAIN, 1.0),),
}


def _layout(rng: np.random.Generator, kind: Kind) -> tuple[float, float, tuple[float, ...]]:
    """Frequency, duty and places of a pattern."""
    frequency = float(rng.uniform(7, 15))
    duty = float(rng.uniform(0.3, 0.6))
    lengths: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    if kind is Kind.BLOCK:
        width, height = rng.uniform(0.045, 0.11), rng.uniform(0.03, 0.1)
        lengths = (float(rng.choice((0.0, 0.0, 0.05))), float(width), 0.34, float(height))
    elif kind is Kind.YOKE:
        lengths = (float(rng.uniform(0.26, 0.42)), 0.0, 0.0, 0.0)
    elif kind is Kind.HEM:
        lengths = (float(rng.uniform(0.025, 0.06)), 0.0, 0.0, 0.0)
    elif kind is Kind.SEAM:
        lengths = (float(rng.uniform(0.022, 0.034)), 0.0, 0.0, 0.0)
    elif kind is Kind.RING:
        lengths = (float(rng.uniform(0.25, 0.38)), float(rng.uniform(0.025, 0.06)), 0.0, 0.0)
    elif kind is Kind.DOTS:
        duty = float(rng.uniform(0.22, 0.36))
    elif kind is Kind.CHECKS:
        frequency = float(rng.uniform(6, 12))
    return frequency, duty, lengths


def _cloth(
    rng: np.random.Generator, wardrobe: Wardrobe, piece: str, warmth: float, *, folds: float = 0.5
) -> Material:
    """A cloth: visible dye, infrared dye and warmth drawn one independent of the other."""
    kinds = _PATTERNS[piece]
    odds = np.array([w * (wardrobe.plain if k is Kind.PLAIN else 1) for k, w in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))][0]
    frequency, duty, lengths = _layout(rng, kind)
    first = _dye(rng, wardrobe)
    second = _distinct(rng, first, wardrobe)
    ground = _infrared_dye(rng)
    print_ = _infrared_dye(rng)
    for _ in range(12):
        if abs(np.sqrt(print_) - np.sqrt(ground)) > 0.2:
            break
        print_ = _infrared_dye(rng)
    if rng.random() < 0.25:  # a dye that is transparent to the infrared: its pattern vanishes
        print_ = ground * float(np.exp(rng.normal(0, 0.04)))
    heat = float(np.clip(warmth + rng.normal(0, wardrobe.warmth), 0.12, 0.85))
    print_heat = heat
    if wardrobe.prints:
        print_heat = float(np.clip(heat + rng.normal(0, wardrobe.prints), 0.1, 0.9))
    a, b, c, d = lengths
    return Material(
        visible=(first, second),
        infrared=(ground, print_),
        warmth=(heat, print_heat),
        kind=kind,
        frequency=frequency,
        duty=duty,
        lengths=(a, b, c, d),
        gloss=float(rng.uniform(0.0, 0.05)),
        folds=folds * float(rng.uniform(0.6, 1.2)),
        fold_size=float(rng.uniform(0.06, 0.12)),
        grain=float(rng.uniform(0.03, 0.12)),
        seed=int(rng.integers(1024)),
        creases=float(rng.uniform(0.2, 1.0)) * wardrobe.creases if wardrobe.creases else 0.0,
    )


def _choose(rng: np.random.Generator, odds: dict[str, float]) -> str:
    """Draw a key by its odds."""
    weights = np.array(list(odds.values()))
    return list(odds)[int(rng.choice(len(odds), p=weights / weights.sum()))]


def _draw_skin(rng: np.random.Generator, hair: Material) -> Material:
    light, dark = np.array([0.62, 0.40, 0.30]), np.array([0.10, 0.052, 0.033])
    depth = float(rng.beta(1.1, 1.5))
    tone = np.exp((1 - depth) * np.log(light) + depth * np.log(dark))
    red, green, blue = (float(c) for c in tone)
    infrared = float(np.clip(0.62 - 0.16 * depth + rng.normal(0, 0.03), 0.35, 0.7))
    return Material(
        visible=((red, green, blue), hair.visible[0]),
        infrared=(infrared, 0.6 * hair.infrared[0] + 0.1),
        warmth=(0.93, 0.85),
        kind=Kind.SKIN,
        gloss=0.1,
        grain=0.03,
        seed=int(rng.integers(1024)),
    )


def _draw_hair(rng: np.random.Generator, female: bool) -> Garment:
    colours: tuple[RGB, ...] = (
        (0.014, 0.012, 0.011),
        (0.03, 0.02, 0.014),
        (0.075, 0.042, 0.022),
        (0.28, 0.18, 0.085),
        (0.16, 0.055, 0.022),
        (0.33, 0.32, 0.31),
    )
    red, green, blue = colours[int(rng.choice(6, p=(0.36, 0.24, 0.16, 0.11, 0.04, 0.09)))]
    infrared = float(np.clip(rng.uniform(0.12, 0.5), 0, 1))
    material = Material(
        visible=((red, green, blue), (red * 1.6, green * 1.55, blue * 1.5)),
        infrared=(infrared, min(1.3 * infrared, 0.7)),
        warmth=(0.62, 0.55),
        kind=Kind.HAIR,
        gloss=0.12,
        folds=0.25,
        fold_size=0.03,
        grain=0.2,
        seed=int(rng.integers(1024)),
    )
    if female:
        odds = {"short": 0.8, "bob": 2.0, "long": 3.0, "bun": 1.2, "ponytail": 2.0, "afro": 0.5}
    else:
        odds = {"bald": 1.0, "short": 5.0, "bob": 0.5, "long": 0.3, "afro": 0.5, "bun": 0.2}
    style = _choose(rng, odds)
    return Garment(style, material, length=float(rng.random()), loose=float(rng.uniform(0.7, 1.4)))


def _loosened(rng: np.random.Generator, wardrobe: Wardrobe, loose: float) -> float:
    """A distance of cloth from the body as the wardrobe wears it."""
    return loose * float(rng.uniform(1, wardrobe.loose)) if wardrobe.loose != 1 else loose


def _draw_top(rng: np.random.Generator, wardrobe: Wardrobe) -> Garment:
    style = _choose(
        rng, {"tshirt": 3.0, "longsleeve": 2.4, "sweater": 1.4, "hoodie": 1.4, "tank": 0.5}
    )
    warmth = {"tank": 0.72, "tshirt": 0.68, "longsleeve": 0.6, "sweater": 0.5, "hoodie": 0.48}
    sleeve = {"tank": 0.0, "tshirt": float(rng.uniform(0.2, 0.48))}.get(
        style, float(rng.choice((0.62, 0.98, 0.98, 0.98)))
    )
    loose = {"sweater": 0.018, "hoodie": 0.024}.get(style, 0.010) + float(rng.uniform(0, 0.012))
    material = _cloth(rng, wardrobe, "top", warmth[style], folds=0.3)
    return Garment(style, material, float(rng.random()), sleeve, _loosened(rng, wardrobe, loose))


def _draw_bottom(rng: np.random.Generator, wardrobe: Wardrobe, female: bool) -> Garment:
    odds = {"slim": 2.5, "straight": 4.0, "wide": 1.5, "shorts": 1.3}
    if female:
        odds |= {"skirt": 2.0, "long-skirt": 1.2, "leggings": 1.5}
    style = _choose(rng, odds)
    loose = {"slim": 0.006, "leggings": 0.003, "wide": 0.024}.get(style, 0.013)
    material = _cloth(rng, wardrobe, "bottom", 0.55 if style != "leggings" else 0.68, folds=0.3)
    return Garment(style, material, float(rng.random()), 1.0, _loosened(rng, wardrobe, loose))


def _draw_coat(rng: np.random.Generator, wardrobe: Wardrobe) -> Garment | None:
    style = _choose(
        rng,
        {
            "none": 5.5 / wardrobe.coats,
            "jacket": 1.6,
            "open-jacket": 1.7,
            "long-coat": 1.3,
            "vest": 0.7,
        },
    )
    if style == "none":
        return None
    material = _cloth(rng, wardrobe, "coat", 0.36, folds=0.3)
    sleeve = 0.0 if style == "vest" else 1.0
    return Garment(style, material, float(rng.random()), sleeve, float(rng.uniform(0.018, 0.028)))


def _draw_carried(rng: np.random.Generator, wardrobe: Wardrobe, chance: float) -> Garment | None:
    present = rng.random() < chance
    material = _cloth(rng, wardrobe, "carried", 0.25, folds=0.25)
    scale = float(rng.uniform(0.8, 1.25))
    length = float(rng.random())
    return Garment("bag", material, length, 1.0, scale) if present else None


def draw_outfit(rng: np.random.Generator, gender: float, wardrobe: Wardrobe = COLOURFUL) -> Outfit:
    """Draw an identity's appearance.

    Args:
        rng: Source of randomness.
        gender: 0 male to 1 female; moves the odds of hair and of skirts.
        wardrobe: How people dress.

    Returns:
        The outfit, the same on every camera.
    """
    female = gender > 0.5
    hair = _draw_hair(rng, female)
    skin = _draw_skin(rng, hair.material)
    eyes = Material(
        visible=((0.6, 0.58, 0.56), (0.03, 0.022, 0.018)),
        infrared=(0.5, 0.06),
        warmth=(0.88, 0.88),
        kind=Kind.EYE,
        gloss=0.4,
    )
    beard = 0.0 if female or rng.random() < 0.55 else float(rng.uniform(0.2, 0.9))
    top, bottom = _draw_top(rng, wardrobe), _draw_bottom(rng, wardrobe, female)
    coat = _draw_coat(rng, wardrobe)
    shoe_style = _choose(rng, {"sneaker": 3.0, "shoe": 2.0, "boot": 1.3})
    shoes = Garment(
        shoe_style,
        _cloth(rng, wardrobe, "plain", 0.36, folds=0.15),
        length=float(rng.random()),
        loose=0.009,
    )
    hat_style = _choose(rng, {"none": 7.0, "beanie": 1.0, "cap": 1.3, "brim": 0.5})
    hat_cloth = _cloth(rng, wardrobe, "plain", 0.42, folds=0.2)
    hat = None if hat_style == "none" else Garment(hat_style, hat_cloth)
    scarf_cloth = _cloth(rng, wardrobe, "plain", 0.45, folds=0.7)
    scarf = Garment("scarf", scarf_cloth) if rng.random() < 0.1 else None
    backpack = _draw_carried(rng, wardrobe, 0.3)
    shoulder_bag = _draw_carried(rng, wardrobe, 0.0 if backpack else 0.28)
    hand_bag = _draw_carried(rng, wardrobe, 0.16)
    return Outfit(
        skin, eyes, hair, beard, top, bottom, coat, shoes, hat, scarf, backpack, shoulder_bag,
        hand_bag,
    )  # fmt: skip
