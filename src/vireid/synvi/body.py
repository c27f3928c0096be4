"""The parametric body: rest shapes from a phenotype, and what all bodies share."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.synvi.body_data import OMITTED, load_body_data

__all__ = ["Body", "BodyModel", "Phenotype", "Template", "draw_phenotype"]

# The forms of each trait of a phenotype, at equally spaced anchors between which weights are
# interpolated linearly. The first anchor is 0, that of `age` -1/3; the last is 1.
_FORMS: dict[str, tuple[str, ...]] = {
    "gender": ("male", "female"),
    "age": ("newborn", "baby", "child", "young", "old"),
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "height": ("minheight", "maxheight"),
    "proportions": ("idealproportions", "uncommonproportions"),
    "cupsize": ("mincup", "averagecup", "maxcup"),
    "firmness": ("minfirmness", "averagefirmness", "maxfirmness"),
}
_RACES = ("african", "asian", "caucasian")


@dataclass(frozen=True, slots=True)
class Phenotype:
    """The shape of one body, each value in [0, 1] as anny defines it.

    Attributes:
        gender: 0 male to 1 female.
        age: 2/3 a young adult, 1 an old one.
        muscle: Muscularity.
        weight: Body weight.
        height: Body height.
        proportions: 0 the common, 1 the uncommon ones.
        cupsize: Size of the breasts.
        african: Weight of one of the three groups of head and body forms.
        asian: The second.
        caucasian: The third.
    """

    gender: float
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float
    cupsize: float
    african: float
    asian: float
    caucasian: float


@dataclass(frozen=True, slots=True)
class Template:
    """What all bodies share: the neutral shape, the skeleton, the skin weights and the faces.

    Attributes:
        rest: Neutral rest vertices, float32 ``[v, 3]`` in metres; z up, facing -y.
        heads: Neutral bone heads, float32 ``[b, 3]``.
        bones: Names of the bones.
        parents: Parent of each bone, -1 for the root.
        weights: Skin weights, float32 ``[v, 8]``, largest first, each row sums to one.
        indices: Bones of the weights, int32 ``[v, 8]``.
        faces: Triangles of each group, int32 ``[t, 3]``.
    """

    rest: NDArray[np.float32]
    heads: NDArray[np.float32]
    bones: tuple[str, ...]
    parents: tuple[int, ...]
    weights: NDArray[np.float32]
    indices: NDArray[np.int32]
    faces: dict[str, NDArray[np.int32]]

    def bone(self, name: str) -> int:
        """Index of a bone by its name."""
        return self.bones.index(name)

    def membership(self, *prefixes: str) -> NDArray[np.float32]:
        """Skin weight that the bones with these prefixes have, float32 ``[v]`` in [0, 1]."""
        wanted = np.array([b.startswith(prefixes) for b in self.bones])
        share = np.sum(self.weights * wanted[self.indices], axis=1)
        return np.asarray(share, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Body:
    """The rest shape of one identity.

    Attributes:
        rest: Rest vertices, float32 ``[v, 3]`` in metres.
        heads: Bone heads, float32 ``[b, 3]``.
    """

    rest: NDArray[np.float32]
    heads: NDArray[np.float32]


def draw_phenotype(rng: np.random.Generator) -> Phenotype:
    """Draw an adult body.

    Args:
        rng: Source of randomness.

    Returns:
        A phenotype; genders are balanced, heights and weights are spread widely.
    """
    female = rng.random() < 0.5
    forms = rng.dirichlet((0.8, 0.8, 0.8))
    return Phenotype(
        gender=float(np.clip((1.0 if female else 0.0) + rng.normal(0, 0.1), 0, 1)),
        age=float(rng.uniform(0.6, 0.95)),
        muscle=float(np.clip(rng.normal(0.5, 0.17), 0.1, 0.95)),
        weight=float(np.clip(rng.normal(0.52, 0.2), 0.08, 0.98)),
        height=float(np.clip(rng.normal(0.52, 0.17), 0.12, 0.92)),
        proportions=float(rng.uniform(0.2, 1.0)),
        cupsize=float(rng.uniform(0.25, 0.7)),
        african=float(forms[0]),
        asian=float(forms[1]),
        caucasian=float(forms[2]),
    )


def _weights_of_forms(values: dict[str, float]) -> dict[str, float]:
    """Weight of every form of a phenotype, the same as anny's; values that are missing are 0.5."""
    weights: dict[str, float] = {}
    for trait, forms in _FORMS.items():
        first = -1 / 3 if trait == "age" else 0.0
        anchors = np.linspace(first, 1.0, len(forms))
        value = min(max(values.get(trait, 0.5), first), 1.0)
        upper = int(np.clip(np.searchsorted(anchors, value), 1, len(forms) - 1))
        share = (value - anchors[upper - 1]) / (anchors[upper] - anchors[upper - 1])
        weights |= dict.fromkeys(forms, 0.0)
        weights[forms[upper - 1]], weights[forms[upper]] = 1.0 - float(share), float(share)
    total = sum(values.get(race, 0.5) for race in _RACES)
    weights |= {race: values.get(race, 0.5) / total for race in _RACES}
    omitted = sorted(form for form in OMITTED if weights[form] > 0)
    if omitted:
        raise ValueError(f"phenotype {values} has the forms {omitted}, which are not read")
    return weights


class BodyModel:
    """Makes rest shapes: a base shape plus weighted blend shapes.

    Attributes:
        template: What all bodies share.
    """

    def __init__(self) -> None:
        self._data = load_body_data()
        neutral = self._rest({})
        self.template = Template(
            rest=neutral.rest,
            heads=neutral.heads,
            bones=self._data.bones,
            parents=self._data.parents,
            weights=self._data.weights,
            indices=self._data.indices,
            faces=self._data.faces,
        )

    def _rest(self, values: dict[str, float]) -> Body:
        data = self._data
        weights = _weights_of_forms(values)
        offset = np.zeros(data.vertices.shape)
        heads = data.heads.copy()
        # One blend shape after the other: the order of the sums never depends on a library.
        for shape, forms in enumerate(data.shapes):
            weight = math.prod(weights[form] for form in forms)
            if weight:
                offset += weight * data.offsets[shape]
                heads += weight * data.head_offsets[shape]
        rest = data.vertices + 1e-4 * offset
        return Body(rest=rest.astype(np.float32), heads=heads.astype(np.float32))

    def body(self, phenotype: Phenotype) -> Body:
        """The rest shape of a phenotype.

        Raises:
            ValueError: An age below 1/3, whose blend shapes are not read.
        """
        return self._rest({**dataclasses.asdict(phenotype), "firmness": 0.6})
