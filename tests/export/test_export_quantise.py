"""What is quantised, and what is left in float32."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vireid.export.graph import network_graph
from vireid.export.quantise import float32_operations, quantise
from vireid.export.resize import PIXELS
from vireid.features import runtimes
from vireid.features.runtimes import OUTPUT
from vireid.optional_packages import package, quiet

SIZE = (16, 8)


class Attending(nn.Module):
    """Normalisation, four convolutions, attention, one more, pooling and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.narrow = nn.Conv2d(8, 8, 1)
        self.query = nn.Conv2d(8, 4, 1)
        self.value = nn.Conv2d(8, 8, 1)
        self.embedding = nn.Linear(8, 4)

    def forward(self, pixels: Tensor) -> Tensor:
        x = nn.functional.relu6(self.first(pixels / 255 - 0.5))
        x = x + self.narrow(nn.functional.relu6(self.depthwise(x)))
        q, v = (conv(x).flatten(2) for conv in (self.query, self.value))
        x = x + (v @ (q.mT @ q).softmax(2)).view_as(x)
        return nn.functional.normalize(self.embedding(x.mean((2, 3))))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Attending().eval()


@pytest.fixture(scope="module")
def graph(network: nn.Module) -> bytes:
    data: bytes = network_graph(network, SIZE, name="x").SerializeToString()
    return data


def opened(graph: bytes, format: str) -> object:
    if format == "onnx":
        return package("onnx").load_from_string(graph)
    with quiet():
        return package("openvino").convert_model(io.BytesIO(graph))


def images(n: int) -> list[np.ndarray]:
    drawn = np.random.default_rng(0).integers(0, 256, (n, 1, 3, *SIZE))
    return list(drawn.astype(np.float32))


def test_convolutions_are_quantised_but_for_the_first(graph: bytes) -> None:
    model = opened(graph, "onnx")
    left = float32_operations(model)
    kinds = {node.name: node.op_type for node in model.graph.node}  # type: ignore[attr-defined]
    convolutions = [name for name, kind in kinds.items() if kind == "Conv"]
    assert len(convolutions) == 5
    assert [name for name in convolutions if name in left] == convolutions[:1]
    # Of the two sums the first stands between convolutions, that behind attention does not.
    sums = [name for name, kind in kinds.items() if kind == "Add"]
    assert [name in left for name in sums] == [False, True]
    between = {kind for name, kind in kinds.items() if name not in left}
    assert between == {"Conv", "Clip", "Add"}
    assert {"Div", "Sub", "MatMul", "Softmax", "ReduceMean"} <= {kinds[name] for name in left}


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_rows_are_of_unit_length_and_near(format: str, graph: bytes, network: nn.Module) -> None:
    given = images(40)
    model = quantise(opened(graph, format), given[:30])
    seen = np.concatenate(given)
    if format == "onnx":
        session = package("onnxruntime").InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        [found] = session.run([OUTPUT], {PIXELS: seen})
        weights = [i for i in model.graph.initializer if i.data_type == 3 and len(i.dims) == 4]
        assert len(weights) == 4
    else:
        compiled = (
            package("openvino")
            .Core()
            .compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        )
        found = np.array(compiled({PIXELS: seen})[OUTPUT])
        kinds = [str(op.output(0).element_type) for op in model.get_ops() if op.get_output_size()]
        assert sum("int8_t" in kind for kind in kinds) >= 4
    with torch.no_grad():
        expected = network(torch.from_numpy(seen)).numpy()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    if runtimes.supports_int8():  # sums overflow elsewhere
        assert (found * expected).sum(axis=1).min() > 0.99
    # It is not the network in float32.
    assert np.abs(found - expected).max() > 1e-5


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", True),
        ("x86_64", "avx2 avx_vnni", True),
        ("x86_64", "avx2 amx_int8", True),
        ("x86_64", "avx2 avx512f", False),
        ("x86_64", None, False),
        ("aarch64", "asimd", True),
    ],
)
def test_processors_that_cut_off_sums_are_known(
    machine: str,
    flags: str | None,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(runtimes, "_CPUINFO", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"model name\t: x\nflags\t\t: fpu {flags}\n")
    assert runtimes.supports_int8() is expected
