"""An export equals its run in every command, and is refused if it does not."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.exports import shallow_resnets, traced_networks_kept
from tests.helpers.full_disk import files_limited_to
from tests.helpers.trees import write_manifest, write_sysu
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from vireid.cli import main
from vireid.cli.export import export
from vireid.cli.train import resume
from vireid.data.images import MAX_SIDE, resized
from vireid.data.layouts import DataSource
from vireid.data.provenance import Provenance
from vireid.data.transforms import normalise
from vireid.errors import ConfigError, ExportError, VireidError
from vireid.evaluation import Result
from vireid.export import writing
from vireid.export.graph import NetworkPath, network_graph, with_resizing
from vireid.export.parity import LoadedImage, measure, require_equal
from vireid.features import load
from vireid.features.exported_backend import (
    ExportedBackend,
    Interface,
    Parity,
    open_graphs,
    read_info,
)
from vireid.features.runtimes import (
    INPUT,
    OUTPUT,
    _OpenVinoSession,
    open_session,
    supports_int8,
)
from vireid.features.torch_backend import TorchBackend
from vireid.files import held
from vireid.methods import DLISConfig, Method, Recipe
from vireid.methods.method import Losses
from vireid.optional_packages import package
from vireid.runs import Run, RunFolder
from vireid.types import CrossModalBatch, ImageRecord, Modality

FORMATS = ("onnx", "openvino")


@pytest.fixture(scope="module", autouse=True)
def traced_once() -> Iterator[None]:
    """To trace the same network for each export would take minutes."""
    # NNCF fails at residual connections, which is tested here.
    with shallow_resnets(BasicBlock), traced_networks_kept():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a network that tells the tree's people apart without any training."""
    root = write_sysu(tmp_path_factory.mktemp("data é") / "sysu")
    method = DLISConfig(
        backbone="resnet18", weights="none", size=(64, 32), stripes=2, dim=8, shared_from="layer2"
    )
    data = DataSource(layout="sysu-mm01", root=root)
    made = RunFolder(tmp_path_factory.mktemp("runs") / "夜 1")
    made.start(Run(name="dlis", recipe=Recipe(method=method), data=data, device="cpu"))
    made.write_data(Provenance.of(data.open()))
    torch.manual_seed(0)
    network = method.build(classes=3)
    with torch.no_grad():
        for parameter in network.parameters():
            # PALM and the batch norms start at values that hide mistakes.
            parameter.add_(torch.randn_like(parameter) * 0.02)
    made.write_model(network.state_dict(), classes=3)
    return made.path


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports the run in a format, once for all tests."""

    @cache
    def in_format(format: str) -> Path:
        out = tmp_path_factory.mktemp("exports") / format
        assert main(["export", str(run), "--format", format, "--out", str(out)]) == 0
        return out

    return in_format


@pytest.fixture(scope="module")
def records(run: Path) -> tuple[ImageRecord, ...]:
    return RunFolder(run).read_config().data.open().test()


def largest(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max())


@pytest.mark.parametrize("format", FORMATS)
def test_its_features_are_those_of_its_run(
    format: str, exported: Callable[[str], Path], run: Path, records: tuple[ImageRecord, ...]
) -> None:
    folder = exported(format)
    by_torch, by_export = load(run), load(folder)
    for batch_size in (1, 5, 64):
        expected = by_torch.extract(records, batch_size=batch_size, progress=False)
        found = by_export.extract(records, batch_size=batch_size, progress=False)
        assert found.records == expected.records
        assert largest(found.values, expected.values) < 1e-4
    flipped = [
        e.extract(records[:4], flip=True, progress=False).values for e in (by_torch, by_export)
    ]
    assert largest(*flipped) < 1e-4
    assert by_export.fingerprint == by_torch.fingerprint
    assert by_export.dimension == by_torch.dimension == 16
    assert by_export.about == {**by_torch.about, "precision": "f32", "export": format}
    assert by_export.attention(records[:1]) == []
    assert by_export.translate(records[:1]) == []


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written(format: str, exported: Callable[[str], Path], run: Path) -> None:
    folder = exported(format)
    told = json.loads((folder / "export.json").read_text())
    endings = {"onnx": [".onnx"], "openvino": [".bin", ".xml"]}[format]
    graphs = {f"{modality}{ending}" for modality in Modality for ending in endings}
    files = {*graphs, "config.yaml", "data.json"}
    assert {file.name for file in folder.iterdir()} == {*files, "export.json"}
    assert set(told["files"]) == files
    assert told["interface"]["size"] == [64, 32]
    assert told["interface"]["channels"] == "RGB"
    assert told["weights"] == told["fingerprint"] == load(run).fingerprint
    assert told["parity"]["largest_difference"] <= 1e-4
    assert told["parity"]["misorder"] <= 1e-5
    assert {"vireid", "torch", "pillow", "onnx"} <= set(told["versions"])
    assert (folder / "config.yaml").read_bytes() == (run / "config.yaml").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_a_graph_takes_images_of_any_size(
    format: str, exported: Callable[[str], Path], run: Path
) -> None:
    folder = exported(format)
    info = read_info(folder)
    network = load(run).backend
    rng = np.random.default_rng(0)
    for modality in Modality:
        session = open_session(folder / info.graphs[modality], "f32")
        for n, height, width in ((1, 64, 32), (3, 200, 90), (2, 31, 70), (1, 1, 1)):
            images = rng.integers(0, 256, (n, height, width, 3)).astype(np.uint8)
            small = np.stack([resized(Image.fromarray(image), (64, 32)) for image in images])
            expected = network.extract_features(
                torch.from_numpy(small).permute(0, 3, 1, 2), modality
            )
            assert largest(session.run(images), expected) < 1e-4


@pytest.mark.parametrize("shape", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (3_000_000, 1)])
def test_graphs_refuse_sides_that_no_person_has(
    shape: tuple[int, int], exported: Callable[[str], Path]
) -> None:
    images = np.zeros((1, *shape, 3), np.uint8)
    with pytest.raises(Exception, match="sides_over_16384_pixels_are_refused"):
        open_session(exported("onnx") / "visible.onnx", "f32").run(images)
    compiled = package("openvino").Core().compile_model(exported("openvino") / "visible.xml", "CPU")
    with pytest.raises(Exception, match=r"1\.\.16384,1\.\.16384,3"):
        compiled({INPUT: images})


class Tiny(Method):
    """Nothing but a convolution for each modality."""

    def __init__(self) -> None:
        super().__init__()
        self.size = (64, 32)
        self.stems = nn.ModuleDict({m: nn.Conv2d(3, 2, 7, stride=16) for m in Modality})

    def losses(self, batch: CrossModalBatch) -> Losses:
        raise NotImplementedError

    def extract_features(self, images: Tensor, modality: Modality) -> Tensor:
        return nn.functional.normalize(self.stems[modality](images).flatten(1))

    def backbone_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())


class Frozen(NetworkPath):
    """Describes the first two images, however many there are."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels[:2])


class NormalisedTwice(NetworkPath):
    """Takes its own normalisation for that of the pixels."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(normalise(pixels))


class Swapped(NetworkPath):
    """Takes blue for red."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels.flip(1))


def loaded(records: Sequence[ImageRecord]) -> list[LoadedImage]:
    found = []
    for record in records:
        with Image.open(record.path) as image:
            found.append(LoadedImage(image.convert("RGB"), record.modality))
    return found


@pytest.fixture(scope="module")
def tiny() -> TorchBackend:
    torch.manual_seed(0)
    return TorchBackend(Tiny(), device="cpu")


@pytest.fixture(scope="module")
def tiny_export(
    tiny: TorchBackend, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[type[NetworkPath]], ExportedBackend]:
    """Exports the tiny network by a path, once for all tests."""

    made: dict[type[NetworkPath], ExportedBackend] = {}

    def by_path(path: type[NetworkPath]) -> ExportedBackend:
        if path in made:
            return made[path]
        folder = tmp_path_factory.mktemp("tiny")
        files = {}
        for modality in Modality:
            graph = network_graph(path(tiny.network, modality), (64, 32), name="x")
            files[modality] = folder / f"{modality}.onnx"
            files[modality].write_bytes(with_resizing(graph, (64, 32)).SerializeToString())
        interface = Interface(size=(64, 32), dimension=16)
        made[path] = open_graphs(files, interface, precision="f32", fingerprint="0")
        return made[path]

    return by_path


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (NormalisedTwice, "differs from its run"),
        (Swapped, "differs from its run"),
        (Frozen, r"returns \[2, 16\] for"),
    ],
)
def test_an_export_that_is_another_network_is_caught(
    path: type[NetworkPath],
    fault: str,
    records: tuple[ImageRecord, ...],
    tiny: TorchBackend,
    tiny_export: Callable[[type[NetworkPath]], ExportedBackend],
) -> None:
    require_equal(measure(tiny, tiny_export(NetworkPath), loaded(records)))
    with pytest.raises(ExportError, match=fault):
        require_equal(measure(tiny, tiny_export(path), loaded(records)))


def test_a_frozen_batch_is_refused_where_it_is_opened(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    onnx = package("onnx")
    model = onnx.load(exported("onnx") / "visible.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    file = tmp_path / "visible.onnx"
    onnx.save(model, file)
    with pytest.raises(ExportError, match=r"takes tensor\(uint8\) \[2, .*any number of images"):
        open_session(file, "f32")
    openvino = package("openvino")
    frozen = openvino.Core().read_model(exported("openvino") / "visible.xml")
    frozen.reshape([2, -1, -1, 3])
    openvino.save_model(frozen, tmp_path / "visible.xml", compress_to_fp16=False)
    with pytest.raises(ExportError, match=r"takes tensor\(uint8\) \[2, .*any number of images"):
        open_session(tmp_path / "visible.xml", "f32")


def test_the_precision_is_the_one_that_was_asked_for(exported: Callable[[str], Path]) -> None:
    openvino = package("openvino")
    file = exported("openvino") / "visible.xml"
    operations = openvino.Core().read_model(file).get_ordered_ops()
    kinds = {str(op.output(0).element_type) for op in operations if op.get_output_size()}
    assert not any("16" in kind for kind in kinds)
    full, half = (open_session(file, precision) for precision in ("f32", "bf16"))
    assert isinstance(full, _OpenVinoSession)
    assert isinstance(half, _OpenVinoSession)
    hints = [s.compiled.get_property("INFERENCE_PRECISION_HINT") for s in (full, half)]
    assert hints[0] == openvino.Type.f32
    assert full.arithmetic == ""
    if hints[1] == openvino.Type.bf16:
        assert half.arithmetic == ""
    else:
        assert half.arithmetic == "f32, as this processor has no bf16"


@pytest.mark.parametrize("format", FORMATS)
def test_eight_bits(
    format: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "int8"
    words = ["--precision", "int8", "--calibrate", "8", "--out", str(out)]
    assert main(["export", str(run), "--format", format, *words]) == 0
    told = capsys.readouterr()
    info = read_info(out)
    weights = load(run).fingerprint
    assert info.weights == weights != info.fingerprint
    assert f"{info.fingerprint} (from {weights})" in told.out
    assert info.calibration == "8 training images of the run (seed 0)"
    assert info.parity.mean_cosine < 1
    # Elsewhere sums of bytes overflow, which is told; how near it comes then is the processor's.
    exact = supports_int8()
    assert (info.parity.arithmetic == "") == exact
    if exact:
        assert info.parity.mean_cosine > 0.99
    assert ("WARNING" in told.err) == (info.parity.mean_cosine < 0.99)
    assert info.parity.largest_difference > 1e-4
    fallback = "NNCF cannot correct the biases of this network layer by layer"
    assert (fallback in told.err) == (format == "onnx")
    said = [line for line in told.err.split("\nWARNING")[0].splitlines() if fallback not in line]
    assert {line for line in said if line} == {
        "Tracing the network …",
        *(f"Quantising {info.graphs[modality]} with 4 images …" for modality in Modality),
        "Checking the export against the run …",
    }
    assert main(["evaluate", str(out), "--no-figures"]) == 0
    assert "int8" in capsys.readouterr().out
    saved = list((out / "results").glob("*.json"))
    assert [Result.load(file).weights_fingerprint for file in saved] == [info.fingerprint]


def test_an_inaccurate_export_is_reported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def coarse(network: Any, pixels: Sequence[Any]) -> Any:
        """Weights of two bits, in place of eight."""
        onnx_numpy = package("onnx.numpy_helper")
        for weight in network.graph.initializer:
            if len(weight.dims) == 4:
                given = onnx_numpy.to_array(weight)
                step = np.abs(given).max()
                weight.CopyFrom(onnx_numpy.from_array((np.round(given / step) * step), weight.name))
        return network

    monkeypatch.setattr(writing, "quantise", coarse)
    export(run, format="onnx", precision="int8", calibrate=8, out=tmp_path / "out")
    told = capsys.readouterr()
    assert read_info(tmp_path / "out").parity.mean_cosine < 0.99
    assert "WARNING: this export differs from its run" in told.err


def test_features_that_are_not_of_unit_norm_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def longer(network: Any, pixels: Sequence[Any]) -> Any:
        """The network with its features multiplied by 1.1."""
        factor = package("onnx.numpy_helper").from_array(np.float32(1.1), "factor")
        network.graph.initializer.append(factor)
        for node in network.graph.node:
            node.output[:] = ["unit" if name == OUTPUT else name for name in node.output]
            node.input[:] = ["unit" if name == OUTPUT else name for name in node.input]
        node = package("onnx.helper").make_node("Mul", ["unit", "factor"], [OUTPUT])
        network.graph.node.append(node)
        return network

    monkeypatch.setattr(writing, "quantise", longer)
    with pytest.raises(ExportError, match=r"norms from 1\.1 to 1\.1; expected norm 1"):
        export(run, format="onnx", precision="int8", calibrate=8, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("direct_transfer", [False, True])
def test_an_evaluation_is_that_of_the_run(
    run: Path,
    exported: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    direct_transfer: bool,
) -> None:
    words = ["--no-figures"]
    if direct_transfer:
        words += ["--layout", "manifest", "--root", str(write_manifest(tmp_path, seed=5))]
    results = []
    for folder in (run, exported("onnx")):
        assert main(["evaluate", str(folder), *words]) == 0
        [file] = (folder / "results").glob("*.json")
        results.append(Result.load(file))
        shutil.rmtree(folder / "results")
    capsys.readouterr()
    assert [result.direct_transfer for result in results] == [direct_transfer] * 2
    assert [result.about["trained on"] for result in results] == ["SYSU-MM01"] * 2
    assert results[0].mean_ap.mean == pytest.approx(results[1].mean_ap.mean, abs=1e-6)
    assert results[0].weights_fingerprint == results[1].weights_fingerprint
    assert results[1].about["export"] == "onnx"


def test_nothing_is_left_of_an_export_that_fails(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unequal(parity: Parity) -> None:
        require_equal(replace(parity, largest_difference=2e-4))

    stale = tmp_path / ".out.0123.tmp"
    stale.mkdir()
    (stale / "visible.onnx").write_text("left by a kill")
    busy = tmp_path / ".out.4567.tmp"
    busy.mkdir()
    monkeypatch.setattr(writing, "require_equal", unequal)
    with held(busy), pytest.raises(ExportError, match=r"differs from its run.*nothing was written"):
        export(run, format="onnx", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == [busy]


def test_what_cannot_be_exported_is_refused_at_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="bf16 does not apply to --format onnx"):
        export(run, format="onnx", precision="bf16", out=tmp_path / "out")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    with pytest.raises(ConfigError, match="there' exists already"):
        export(run, format="onnx", out=tmp_path / "there")
    with pytest.raises(ConfigError, match="--calibrate 1 is out of range"):
        export(run, format="onnx", precision="int8", calibrate=1, out=tmp_path / "out")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"pip install 'vireid\[export\]'"):
        export(run, format="openvino", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_was_moved(run: Path, tmp_path: Path) -> None:
    lost = tmp_path / "run"
    shutil.copytree(run, lost)
    config = lost / "config.yaml"
    config.write_text(config.read_text().replace("/sysu", "/gone"))
    with pytest.raises(VireidError, match="pass its current folder as --root, or other"):
        export(lost, format="onnx", out=tmp_path / "out")


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (lambda f: damage(f / "visible.onnx"), "visible.onnx' is damaged"),
    "cut off": (lambda f: os.truncate(f / "infrared.onnx", 99), "infrared.onnx' is damaged"),
    "missing": (lambda f: (f / "infrared.onnx").unlink(), "infrared.onnx' is missing"),
    "another run's": (
        lambda f: (f / "config.yaml").write_text("name: other"),
        "config.yaml' is damaged",
    ),
    "no JSON": (lambda f: (f / "export.json").write_text("{"), "Invalid JSON"),
}


def change(**values: Any) -> Callable[[Path], object]:
    """Changes what export.json says."""

    def changed(folder: Path) -> None:
        file = folder / "export.json"
        told = json.loads(file.read_text())
        for place, value in values.items():
            *path, last = place.split("__")
            inner = told
            for step in path:
                inner = inner[step]
            if value is None:
                del inner[last]
            else:
                inner[last] = value
        file.write_text(json.dumps(told))

    return changed


FAULTS |= {
    "no preprocessing": (change(interface=None), "interface: Field required"),
    "preprocessed outside": (change(interface__resize="none"), "interface.resize"),
    "blue first": (change(interface__channels="BGR"), "interface.channels"),
    "one modality": (change(graphs__infrared=None), "expected a graph of each"),
    "a file elsewhere": (change(files={"../visible.onnx": "0"}), "files of its own folder"),
    "another length": (change(interface__dimension=17), "returns [1, 16] for 1 image;"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_or_foreign_export_is_one_error(
    fault: str,
    exported: Callable[[str], Path],
    records: tuple[ImageRecord, ...],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported("onnx"), folder)
    break_it, words = FAULTS[fault]
    break_it(folder)
    with pytest.raises(ExportError) as caught:
        load(folder).extract(records[:1], progress=False)
    assert words in str(caught.value)
    assert "export" in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_export(exported: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is one file; expected the folder"):
        load(exported("onnx") / "visible.onnx")
    with pytest.raises(ConfigError, match="runs on the CPU"):
        load(exported("onnx"), device="cuda")
    for name in ("a.onnx", "a.xml"):
        (tmp_path / name).write_text("not a network")
        with pytest.raises(ExportError, match="cannot be opened"):
            open_session(tmp_path / name, "f32")
    # A graph of somebody else, with another input.
    helper, kinds = package("onnx.helper"), package("onnx").TensorProto
    given = helper.make_tensor_value_info("x", kinds.FLOAT, ["n", 3, "H", "W"])
    made = helper.make_tensor_value_info(OUTPUT, kinds.FLOAT, ["n", 3, "H", "W"])
    for name in ("x", INPUT):
        given.name = name
        node = helper.make_node("Identity", [name], [OUTPUT])
        graph = helper.make_graph([node], "g", [given], [made])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ExportError, match=r"takes .*; expected"):
            open_session(tmp_path / "other.onnx", "f32")


def test_an_export_is_no_run_to_train_on(exported: Callable[[str], Path]) -> None:
    with pytest.raises(VireidError, match="is an export"):
        resume(resume=exported("onnx"))


@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_that_gets_full_leaves_nothing(
    format: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = writing.write_graphs

    def write_on_full_disk(*given: Any) -> dict[Modality, str]:
        with files_limited_to(1000):
            return write(*given)

    monkeypatch.setattr(writing, "write_graphs", write_on_full_disk)
    out = tmp_path / "out" / "export"
    assert main(["export", str(run), "--format", format, "--out", str(out)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(rf"vireid: '{out}' cannot be written \(.+\); .+ enough space; .+\.", last)
    assert list(out.parent.iterdir()) == []
