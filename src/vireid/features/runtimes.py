"""Inference of exported graphs: onnxruntime runs ONNX files, OpenVINO its own format.

OpenVINO could run ONNX files too; onnxruntime does, because users usually export ONNX for it:
measurements then apply to what they run.
"""

from __future__ import annotations

import platform
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vireid.errors import ExportError
from vireid.optional_packages import package, quiet

__all__ = [
    "INPUT",
    "OUTPUT",
    "ExportPrecision",
    "Format",
    "Session",
    "open_session",
    "supports_int8",
]

Format = Literal["onnx", "openvino"]
ExportPrecision = Literal["f32", "bf16", "int8"]

INPUT: Final = "images"
"""Name of a graph's input."""
OUTPUT: Final = "features"
"""Name of a graph's output."""
_CPUINFO = Path("/proc/cpuinfo")


class Session(ABC):
    """A graph ready for inference, from several threads too.

    Attributes:
        arithmetic: The arithmetic, where it differs from the requested precision; else empty.
    """

    arithmetic: str = ""

    @abstractmethod
    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Extract the features of images of one size.

        Args:
            images: RGB, ``[n, H, W, 3]``, of any size.

        Returns:
            Unit rows, ``[n, d]``.
        """


def open_session(file: Path, precision: ExportPrecision) -> Session:
    """Open a graph.

    Args:
        file: ``.onnx``, or ``.xml`` with its ``.bin``.
        precision: The precision it was exported in.

    Raises:
        ExportError: It cannot be opened, does not take images of any size in batches of any size,
            or a package is missing.
    """
    runtime = package("onnxruntime" if file.suffix == ".onnx" else "openvino")
    try:
        with quiet():
            session = (
                _OnnxSession(runtime, file)
                if file.suffix == ".onnx"
                else _OpenVinoSession(runtime, file, precision)
            )
    except ExportError:
        raise
    except Exception as error:  # runtimes raise nearly anything for foreign files
        raise ExportError(
            f"'{file}' cannot be opened ({_first_line(error)}); expected a network that `vireid"
            " export` wrote; export it again."
        ) from error
    if precision == "int8" and not supports_int8():
        session.arithmetic = "int8 that may overflow, as this processor has no VNNI"
    return session


def supports_int8() -> bool:
    """Whether int8 products are accumulated in 32 bits, as int8 exports need.

    x86 without VNNI or AMX (Intel servers before 2019, AMD before Zen 4) adds pairs of products in
    16 bits, which saturates. ARM does not.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    flags = set(_CPUINFO.read_text(encoding="utf-8").split()) if _CPUINFO.exists() else set()
    return bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8"})


class _OnnxSession(Session):
    def __init__(self, onnxruntime: Any, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        _check_input(file, {i.name: (i.type, list(i.shape)) for i in self._session.get_inputs()})

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As :meth:`Session.run`."""
        rows: NDArray[np.float32]
        [rows] = self._session.run([OUTPUT], {INPUT: images})
        return rows


class _OpenVinoSession(Session):
    def __init__(self, openvino: Any, file: Path, precision: ExportPrecision) -> None:
        core = openvino.Core()
        model = core.read_model(str(file))
        inputs = {
            port.any_name: (
                f"tensor({port.element_type.to_string()})".replace("u8", "uint8"),
                ["any" if d.is_dynamic else d.get_length() for d in port.partial_shape],
            )
            for port in model.inputs
        }
        _check_input(file, inputs)
        hint = "bf16" if precision == "bf16" else "f32"
        self.compiled = core.compile_model(
            model,
            "CPU",
            {
                # The default is bfloat16 where that is faster.
                "INFERENCE_PRECISION_HINT": hint,
                # One batch at a time on all cores.
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            },
        )
        actual = self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if actual != hint:
            self.arithmetic = f"{actual}, as this processor has no {hint}"
        self._request = self.compiled.create_infer_request()
        self._lock = threading.Lock()

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As :meth:`Session.run`."""
        with self._lock:
            answer = self._request.infer({INPUT: images})
            rows: NDArray[np.float32] = np.array(answer[OUTPUT])
        return rows


def _check_input(file: Path, inputs: dict[str, tuple[str, list[Any]]]) -> None:
    """Refuse a graph that does not take images of any size in batches of any size."""
    found = inputs.get(INPUT)
    if len(inputs) != 1 or found is None:
        raise ExportError(
            f"'{file}' takes {sorted(inputs)}; expected one input '{INPUT}'; export it again with"
            " `vireid export`."
        )
    kind, shape = found
    fixed = [d for d in shape[:3] if isinstance(d, int)]
    if kind != "tensor(uint8)" or len(shape) != 4 or shape[3] != 3 or fixed:
        raise ExportError(
            f"'{file}' takes {kind} {shape}; expected uint8 of any number of images of any height"
            " and width, and 3 channels last; export it again with `vireid export`."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
