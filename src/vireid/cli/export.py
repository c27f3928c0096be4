"""``vireid export RUN --format onnx|openvino --out DIR``: export a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.data.listing import list_images
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ConfigError
from vireid.export import check_options, export_run, images_listed, images_of_run
from vireid.export.parity import COARSE
from vireid.features.exported_backend import ExportInfo
from vireid.features.runtimes import ExportPrecision, Format
from vireid.log import echo, log
from vireid.runs import resolve_model

__all__ = ["export"]


def export(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    format: Format,
    out: Path,
    precision: ExportPrecision = "f32",
    images: tuple[str, ...] = (),
    root: Path | None = None,
    calibrate: int = 300,
    seed: int = 0,
) -> ExportInfo:
    """Export a trained model to ONNX or OpenVINO, preprocessing included.

    Every command that accepts a run accepts an export. Before it is saved, its features are
    compared with the run's on real images; in f32 features and rankings must be equal.

    Args:
        run: Finished run folder, or name of an installed model.
        format: onnx, for onnxruntime and others, or openvino, for Intel and other processors.
        out: Output folder.
        precision: f32; bf16, OpenVINO's arithmetic on processors that have it; int8, quantised.
        images: Images of both modalities for the comparison and the calibration, as for `vireid
            encode`; those of the run's data set by default.
        root: Current folder of the run's data set, if it was moved since training.
        calibrate: Number of images for the calibration of int8.
        seed: Seed of the selection of images.

    Returns:
        The contents of export.json.
    """
    folder = resolve_model(run)
    check_options(folder.path, out, format=format, precision=precision)
    if calibrate < 2:
        raise ConfigError(f"--calibrate {calibrate} is out of range; expected at least 2 images.")
    count = calibrate if precision == "int8" else 0
    made_from = folder.read_config()
    if images:
        how = ToneMapping.parse(made_from.tone_mapping)
        chosen = images_listed(list_images(images), count=count, seed=seed, tone_mapping=how)
    else:
        chosen = images_of_run(made_from, root=root, count=count, seed=seed)
    info = export_run(folder.path, out, format=format, precision=precision, images=chosen)
    echo(_report(out, info))
    if info.parity.mean_cosine < COARSE:
        log(_warning(info))
    return info


def _report(out: Path, info: ExportInfo) -> str:
    parity = info.parity
    files = ", ".join(sorted(set(info.graphs.values())))
    source = "" if info.fingerprint == info.weights else f" (from {info.weights})"
    computed = f", computed in {parity.arithmetic}" if parity.arithmetic else ""
    return f"""\
'{out}' contains network {info.fingerprint}{source} as {info.format}, {info.precision}{computed}:
{files}

Compared with the run, on {parity.images} images, and on {parity.raw_images} of {parity.raw_sizes}
pixels without prior resizing:
- features: maximum difference {parity.largest_difference:.2g}, cosine {parity.mean_cosine:.6f} \
(minimum {parity.smallest_cosine:.6f})
- cross-modal ranking: {100 * parity.same_nearest:.1f} % of the queries have the same first match; \
the first ten matches overlap by {100 * parity.overlap_10:.1f} %

`vireid evaluate {out}` shows the effect on Rank-1 and mAP."""


def _warning(info: ExportInfo) -> str:
    parity = info.parity
    return f"""
WARNING: this export differs from its run. The cosine between their features is
{parity.mean_cosine:.3f} on average, {parity.smallest_cosine:.3f} at minimum; expected at least \
{COARSE:g} on average. Check Rank-1 with `vireid evaluate` before using it; for int8 try
more calibration images that resemble yours (--calibrate, --images), or export in f32."""
