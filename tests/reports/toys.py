"""A small search among drawn figures, and results on it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vireid.evaluation import Protocol, Result, Trial, evaluate
from vireid.reports import png
from vireid.types import Features, ImageRecord, Modality

PEOPLE = 9


def person(identity: int, modality: Modality, view: int) -> Image.Image:
    """A crude figure whose clothes tell the identity."""
    rng = np.random.default_rng(identity)
    top, trousers = rng.integers(30, 220, 3), rng.integers(30, 200, 3)
    place = np.random.default_rng([identity, view, modality is Modality.VISIBLE])
    shift = int(place.integers(-6, 7))
    image = Image.new("RGB", (72, 160), (150, 160, 150) if view % 2 else (95, 105, 120))
    draw = ImageDraw.Draw(image)
    middle = 36 + shift
    draw.rectangle((0, 140, 72, 160), fill=(80, 80, 80))
    draw.rectangle((middle - 13, 88, middle - 2, 148), fill=tuple(map(int, trousers)))
    draw.rectangle((middle + 2, 88, middle + 13, 148), fill=tuple(map(int, trousers)))
    draw.rounded_rectangle((middle - 18, 38, middle + 18, 92), 8, fill=tuple(map(int, top)))
    draw.ellipse((middle - 10, 12, middle + 10, 36), fill=(205, 170, 145))
    pixels = np.asarray(image).astype(float) + place.normal(0, 6, (160, 72, 3))
    if modality is Modality.INFRARED:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def drawn(root: Path, people: int = PEOPLE) -> Protocol:
    """Infrared cameras 3 and 6 against visible 1, 2, 4 and 5, the images drawn to disk."""
    records = []
    for camera in range(1, 7):
        modality = Modality.INFRARED if camera in (3, 6) else Modality.VISIBLE
        for identity in range(1, people + 1):
            for view in range(2):
                path = root / f"cam{camera}" / f"{identity:04d}" / f"{view + 1:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                person(identity, modality, 2 * camera + view).save(path)
                records.append(ImageRecord(path, identity, camera, modality))
    query = np.array([i for i, r in enumerate(records) if r.camera in (3, 6)])
    gallery = np.array([i for i, r in enumerate(records) if r.camera not in (3, 6)])
    rng = np.random.default_rng(0)
    trials = tuple(
        Trial(query, np.sort(rng.choice(gallery, len(gallery) // 2, replace=False)))
        for _ in range(3)
    )
    return Protocol(
        name="Drawn figures all-search single-shot",
        direction="infrared to visible",
        convention="seeded draw (random.seed 0)",
        cmc="identity",
        records=tuple(records),
        trials=trials,
        excluded_cameras=((3, 2),),
    )


def features(protocol: Protocol, noise: float) -> Features:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((100, 24))
    values = np.stack([centres[r.identity] for r in protocol.records])
    values = values + noise * rng.standard_normal(values.shape)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Features(values.astype(np.float32), protocol.records)


def results(protocol: Protocol) -> dict[str, Result]:
    return {
        name: evaluate(features(protocol, noise), protocol, about={"backbone": "toy"})
        for name, noise in (("DLIS", 1.0), ("TSLFN", 1.6), ("untrained", 40.0))
    }


def attention(grid: tuple[int, int], spread: float = 0.06) -> NDArray[np.float64]:
    """Attention that prefers places near the position and near its mirror image."""
    height, width = grid
    y, x = np.divmod(np.arange(height * width), width)
    place = np.stack([(y + 0.5) / height, (x + 0.5) / width], axis=1)
    near = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    mirror = place * [1, -1] + [0, 1]
    across = ((place[:, None] - mirror[None]) ** 2).sum(axis=2)
    weights = np.exp(-near / spread) + 0.7 * np.exp(-across / spread)
    rows: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return rows


def history(epochs: int = 12, speed: float = 0.2) -> list[dict[str, object]]:
    """Lines of a metrics.jsonl."""
    return [
        {
            "epoch": e,
            "terms": {"identity": 5 * float(np.exp(-speed * e)), "center": 1 / (1 + e)},
            "accuracy": 1 - float(np.exp(-speed * e)),
            "cosine_same": 0.5 + 0.04 * e,
            "cosine_different": 0.5 - 0.03 * e,
            "lr": 0.01,
            "seconds": 3.0,
            "images_per_second": 90.0,
        }
        for e in range(1, epochs + 1)
    ]


def opened(figure: Figure) -> Image.Image:
    with Image.open(io.BytesIO(png(figure, dpi=50))) as image:
        image.load()
        return image


def texts(figure: Figure) -> list[str]:
    found = [t.get_text() for axes in figure.axes for t in axes.texts]
    return [
        *found,
        *(axes.get_title(where) for axes in figure.axes for where in ("left", "center")),
    ]
