"""Export a finished run to a folder, atomically."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vireid.data.images import MAX_SIDE, resized
from vireid.errors import ConfigError, ExportError, many
from vireid.export.graph import NetworkPath, network_graph, resizing_of, with_resizing
from vireid.export.images import ExportImages
from vireid.export.parity import LoadedImage, measure, require_equal
from vireid.export.quantise import quantise
from vireid.export.resize import PIXELS
from vireid.features.exported_backend import (
    CONFIG,
    INFO,
    ExportInfo,
    Interface,
    info_bytes,
    is_export,
    open_graphs,
    sha256_of,
)
from vireid.features.extractor import about_run, trained_network
from vireid.features.runtimes import ExportPrecision, Format
from vireid.features.torch_backend import FeatureBackend, TorchBackend
from vireid.files import held, require_writable, sync, write_atomic
from vireid.log import log
from vireid.optional_packages import package, quiet, require_packages
from vireid.runs import resolve_model
from vireid.types import Modality

__all__ = ["check_options", "export_run", "write_graphs"]

_NEEDED = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}


def check_options(run: Path, out: Path, *, format: Format, precision: ExportPrecision) -> None:
    """Check the options of an export before anything is read.

    Args:
        run: The run folder.
        out: The folder to create.
        format: The format to write.
        precision: The arithmetic of inference.

    Raises:
        ConfigError: The format does not support the precision, the folder exists, or the run is an
            export.
        ExportError: A package is missing, or the folder cannot be written.
    """
    if precision == "bf16" and format == "onnx":
        raise ConfigError(
            "--precision bf16 does not apply to --format onnx: onnxruntime has no bfloat16"
            " convolutions on CPUs; expected f32 or int8, or --format openvino."
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(
            f"--out '{out}' exists already; expected a new folder; choose another name, or delete"
            " it."
        )
    if is_export(run):
        raise ConfigError(
            f"'{run}' is an export already; expected a run folder; export the run that it was"
            " created from."
        )
    with _naming_unwritable(out):
        require_writable(out.parent, folder=True)
    packages = (*_NEEDED[format], *(("nncf",) if precision == "int8" else ()))
    require_packages(*packages, purpose=f"--format {format} --precision {precision}")


def export_run(
    run: Path,
    out: Path,
    *,
    format: Format,
    precision: ExportPrecision,
    images: ExportImages,
) -> ExportInfo:
    """Export the network of a finished run.

    Args:
        run: The run folder.
        out: The folder to create.
        format: The format to write.
        precision: The arithmetic of inference.
        images: Images for the check and the calibration.

    Returns:
        The contents of the export's ``export.json``.

    Raises:
        ConfigError: As :func:`check_options`.
        RunError: The run is not finished, or damaged.
        ExportError: The network cannot be exported, or an f32 export differs from it; nothing is
            written.
    """
    folder = resolve_model(run)
    check_options(folder.path, out, format=format, precision=precision)
    made_from = folder.read_config()
    network = trained_network(folder, made_from)
    reference = TorchBackend(network, device="cpu")
    interface = Interface(size=network.size, dimension=_dimension(reference))
    log("Tracing the network …")
    graphs = {
        modality: network_graph(
            NetworkPath(network, modality), network.size, name=f"'{folder.name}', {modality}"
        )
        for modality in Modality
    }
    calibration = images.calibration if precision == "int8" else ()
    with _staged(out) as staging:
        names = write_graphs(
            staging, graphs, network.size, format, calibration, reference.fingerprint
        )
        for file in (folder.config_file, folder.data_file):
            if file.exists():
                write_atomic(staging / file.name, file.read_bytes())
        files = {file.name: sha256_of(file) for file in sorted(staging.iterdir())}
        fingerprint = reference.fingerprint
        if precision == "int8":
            fingerprint = _own_fingerprint(
                fingerprint,
                [files[name] for name in files if name not in (CONFIG, folder.data_file.name)],
            )
        log("Checking the export against the run …")
        exported = open_graphs(
            {modality: staging / name for modality, name in names.items()},
            interface,
            precision=precision,
            fingerprint=fingerprint,
        )
        parity = measure(reference, exported, images.check)
        if precision == "f32":
            require_equal(parity)
        info = ExportInfo(
            format=format,
            precision=precision,
            fingerprint=fingerprint,
            weights=reference.fingerprint,
            interface=interface,
            graphs=names,
            files=files,
            about=about_run(made_from),
            calibration=images.description if precision == "int8" else "",
            parity=parity,
            versions=_versions(format, precision),
        )
        write_atomic(staging / INFO, info_bytes(info))
    return info


def write_graphs(
    folder: Path,
    graphs: Mapping[Modality, Any],
    size: tuple[int, int],
    format: Format,
    calibration: Sequence[LoadedImage],
    weights: str,
) -> dict[Modality, str]:
    """Write the graph of each modality; one file if both are equal.

    Args:
        folder: The output folder.
        graphs: The networks, as ONNX graphs.
        size: Height and width of their images, in pixels.
        format: The format to write.
        calibration: Images to quantise with; float32 if empty.
        weights: The fingerprint of the run's weights, stored in each file.

    Returns:
        The file of each modality.
    """
    same = graphs[Modality.VISIBLE] == graphs[Modality.INFRARED]
    ending = {"onnx": ".onnx", "openvino": ".xml"}[format]
    names: dict[Modality, str] = {}
    for modality, graph in graphs.items():
        names[modality] = f"{'both' if same else modality}{ending}"
        if (folder / names[modality]).exists():
            continue
        own = [p for p in calibration if same or p.modality is modality]
        pixels = [_as_array(loaded, size) for loaded in own]
        if pixels:
            log(f"Quantising {names[modality]} with {many(len(pixels), 'image')} …")
        if format == "onnx":
            _write_onnx(folder / names[modality], graph, size, pixels, weights)
        else:
            _write_openvino(folder / names[modality], graph, size, pixels, weights)
    return names


def _write_onnx(
    file: Path, graph: Any, size: tuple[int, int], pixels: list[NDArray[np.float32]], weights: str
) -> None:
    model = with_resizing(quantise(graph, pixels) if pixels else graph, size)
    package("onnx.helper").set_model_props(model, {"vireid": _metadata(weights)})
    write_atomic(file, model.SerializeToString())


def _write_openvino(
    file: Path, graph: Any, size: tuple[int, int], pixels: list[NDArray[np.float32]], weights: str
) -> None:
    openvino = package("openvino")
    with quiet():
        # Unlike read_model it simplifies: otherwise NNCF would recognise no biases and no ReLU6
        # in the converted ONNX operators, and quantise within them.
        network = openvino.convert_model(io.BytesIO(graph.SerializeToString()))
        resizing = openvino.Core().read_model(resizing_of(graph, size).SerializeToString())
        side = openvino.Dimension(1, MAX_SIDE)
        resizing.reshape(openvino.PartialShape([-1, side, side, 3]))
        if pixels:
            network = quantise(network, pixels)
        # Connect the resized images to the network's input.
        entry = network.input(PIXELS)
        made = resizing.output(PIXELS).node.input_value(0)
        for reader in entry.get_target_inputs():
            reader.replace_source_output(made)
        model = openvino.Model(network.results, resizing.parameters, file.stem)
        model.set_rt_info(_metadata(weights), ["vireid"])
        try:
            # By default it would compress the weights to float16.
            openvino.save_model(model, str(file), compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError(f"OpenVINO: {' '.join(str(error).split())}") from error


def _metadata(weights: str) -> str:
    """The metadata inside each file."""
    return json.dumps({"weights": weights, "vireid": version("vireid")})


def _as_array(loaded: LoadedImage, size: tuple[int, int]) -> NDArray[np.float32]:
    """Resized pixels, ``[1, 3, h, w]``."""
    return resized(loaded.image, size).astype(np.float32).transpose(2, 0, 1)[None]


def _dimension(backend: FeatureBackend) -> int:
    black = torch.zeros(1, 3, *backend.size, dtype=torch.uint8)
    return backend.extract_features(black, Modality.VISIBLE).shape[1]


def _own_fingerprint(weights: str, graphs: Sequence[str]) -> str:
    """The fingerprint of a quantised network: 16 hexadecimal digits."""
    return hashlib.sha256(" ".join([weights, *graphs]).encode()).hexdigest()[:16]


def _versions(format: Format, precision: ExportPrecision) -> dict[str, str]:
    names = ["vireid", "torch", "pillow", *_NEEDED[format]]
    return {name: version(name) for name in (*names, *(["nncf"] if precision == "int8" else []))}


@contextlib.contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A temporary folder that is renamed when the block ends without an error.

    Args:
        out: The final name.

    Yields:
        A hidden folder next to it.

    Raises:
        ExportError: The folder cannot be written.
    """
    with _naming_unwritable(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_stale(out)
        staging = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
        folder = staging / "export"
        folder.mkdir(parents=True)
        with held(staging):
            try:
                yield folder
                for file in folder.iterdir():
                    sync(file)
                sync(folder)
                folder.rename(out)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        sync(out.parent)


@contextlib.contextmanager
def _naming_unwritable(out: Path) -> Iterator[None]:
    """Turn an error of the system into a message about the export."""
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"'{out}' cannot be written ({error.strerror or error}); expected a folder that you may"
            " write, with enough space; choose another with --out. Nothing was written."
        ) from error


def _clear_stale(out: Path) -> None:
    """Remove what killed exports to this name have left."""
    for stale in out.parent.glob(f".{glob.escape(out.name)}.*.tmp"):
        with contextlib.suppress(OSError), held(stale):
            shutil.rmtree(stale)
