"""A small gallery of people whom even an untrained network tells apart, and servers of it."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.helpers.videos import BrightBoxes

from vireid.app.api import create_app
from vireid.app.audit import Audit
from vireid.app.handlers import Handlers
from vireid.app.limits import DEFAULT_LIMITS, Limits
from vireid.app.server import create_server, listen, url_of
from vireid.app.service import Service
from vireid.app.tokens import Tokens
from vireid.data.layouts import DataSource
from vireid.data.provenance import Provenance
from vireid.features import FeatureExtractor, extract_from_bytes
from vireid.gallery import open_gallery
from vireid.methods import DLISConfig, Recipe
from vireid.nn import BackboneName
from vireid.openset.calibration import Calibration
from vireid.openset.statistics import (
    CameraView,
    EffectiveImages,
    ErrorRates,
    Estimate,
    GenuineScores,
    ImpostorScores,
)
from vireid.openset.tail import LEVELS
from vireid.runs import Run, RunFolder
from vireid.types import ImageInfo, Modality

PEOPLE = 6
CAMERAS = ("hall", "street")
TOKEN = "a-token-of-the-tests-0123456789"
BEN = "the-token-of-ben-in-the-tests-0123"
NOON = datetime(2026, 5, 31, 12, tzinfo=UTC)


def photograph(
    person: int, *, camera: int = 0, frame: int = 0, grey: bool = False, kind: str = "PNG"
) -> bytes:
    """A image of a person: a pattern of bars that is theirs, a little different each time.

    Args:
        person: Who it shows.
        camera: Makes it brighter.
        frame: Which noise lies over it.
        grey: As an infrared camera sees it.
        kind: The kind of file.
    """
    bars = np.random.default_rng(person).integers(0, 2, size=(8, 4)).astype(np.float64)
    pixels = np.kron(bars, np.ones((12, 12)))[..., None] * 150 + 40 + 6 * camera
    noise = np.random.default_rng(1000 * person + 10 * camera + frame).normal(0, 2, (96, 48, 1))
    tint = np.zeros(3) if grey else np.array([12.0, 0.0, -12.0])
    image = Image.fromarray(np.clip(pixels + noise + tint, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write_run(
    folder: Path,
    *,
    palm: bool = True,
    root: Path | None = None,
    backbone: BackboneName = "resnet18",
) -> Path:
    """A run folder with an untrained network that takes both modalities the same way.

    Args:
        folder: The run folder.
        palm: With PALM.
        root: Its data set, of SYSU-MM01's layout; one that is not there by default.
        backbone: Its backbone.
    """
    method = DLISConfig(
        backbone=backbone,
        weights="none",
        size=(64, 32),
        stripes=2,
        dim=8,
        shared_from="stem",
        palm="layer4" if palm else "off",
    )
    data = DataSource(layout="sysu-mm01", root=root or folder)
    run = Run(name="dlis", recipe=Recipe(method=method), data=data, device="cpu")
    torch.manual_seed(0)
    made = RunFolder(folder)
    made.start(run)
    if root is not None:
        made.write_data(Provenance.of(data.open()))
    made.write_model(method.build(classes=2).state_dict(), classes=2)
    return folder


def write_gallery(folder: Path, extractor: FeatureExtractor, *, files: Path | None = None) -> Path:
    """Everybody once a camera and, in the street, in a second frame two seconds later.

    Args:
        folder: The gallery to make.
        extractor: The network.
        files: Where the images' files are written; None keeps none of them, as of uploads.
    """
    images, data = [], []
    for person in range(PEOPLE):
        for camera, frame in ((0, 0), (1, 0), (1, 1)):
            name = f"{person}-{CAMERAS[camera]}-{frame}.png"
            data.append(photograph(person, camera=camera, frame=frame))
            path = Path(name)
            if files is not None:
                path = files / name
                files.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data[-1])
            images.append(
                ImageInfo(
                    path=path,
                    modality=Modality.VISIBLE,
                    camera=CAMERAS[camera],
                    identity=f"person {person}" if person else "",
                    time=NOON + timedelta(hours=person, minutes=30 * camera, seconds=2 * frame),
                    note="with a bag" if person == 2 else "",
                )
            )
    with open_gallery(folder, model=extractor.model_info, create=True) as gallery:
        extracted = extract_from_bytes(extractor, data, images)
        gallery.add(
            [
                replace(image, info=replace(image.info, path=info.path))
                for image, info in zip(extracted, images, strict=True)
            ]
        )
    return folder


def calibrate(folder: Path) -> None:
    """Let a gallery give verdicts on infrared queries, with thresholds that suit these people."""
    infrared, visible = CameraView(Modality.INFRARED), CameraView(Modality.VISIBLE)
    with open_gallery(folder, write=True) as gallery:
        calibration = Calibration(
            fingerprint=gallery.model.fingerprint,
            rates=ErrorRates(),
            people=50,
            images=500,
            impostors=(
                ImpostorScores(
                    first=infrared,
                    second=visible,
                    people=50,
                    pairs=100_000,
                    thresholds=(exactly(0.998),) * len(LEVELS),
                    observed_fmr=1e-9,
                ),
            ),
            genuine=(
                GenuineScores(
                    query=infrared,
                    gallery=visible,
                    people=50,
                    searches=500,
                    threshold=exactly(0.99),
                ),
            ),
            effective_images=(
                EffectiveImages(
                    query=infrared.modality,
                    gallery=visible.modality,
                    images=3,
                    effective=exactly(2),
                ),
            ),
        )
        gallery.save_calibration(calibration.to_json())


def exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def copy(gallery: Path, into: Path) -> Path:
    """A gallery of one's own, to open or to change; its images' files stay where they are."""
    return Path(shutil.copytree(gallery, into / "people"))


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    url: str


@dataclass(frozen=True)
class ServedApart(Served):
    """A server that runs in a process of its own."""

    process: subprocess.Popen[str]


@contextmanager
def hosted(
    gallery: Path,
    extractor: FeatureExtractor,
    *,
    limits: Limits = DEFAULT_LIMITS,
    tokens: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """A server on a free port in a thread of this process, which has loaded torch already.

    It is what ``vireid serve`` runs, but for the command line: see :func:`served`.
    """
    who = Tokens(tokens or {})
    with (
        open_gallery(gallery, model=extractor.model_info, create=True) as opened,
        listen("127.0.0.1", 0, tokens=who) as listening,
    ):
        service = Service(
            opened, extractor, name=gallery.name, limits=limits, detector=BrightBoxes(30)
        )
        handlers = Handlers(service, Audit(gallery.with_name("audit.jsonl")))
        server = create_server(create_app(handlers, tokens=who), limits=limits)
        thread = threading.Thread(target=server.run, args=([listening],), name="server")
        thread.start()
        try:
            yield Served(url_of(listening))
        finally:
            server.should_exit = True
            thread.join()
            handlers.close()


@contextmanager
def served(
    gallery: Path | str,
    run: Path,
    words: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[ServedApart]:
    """``vireid serve`` on a free port, until the end of the block."""
    command = [sys.executable, "-m", "vireid", "serve", str(gallery), "--run", str(run)]
    process = subprocess.Popen(
        [*command, "--port", "0", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"entries at (http://\S+)", line)
        if found is None:
            process.kill()
            raise AssertionError(f"no server: {line} {process.communicate()[1]}")
        yield ServedApart(found[1], process)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()
