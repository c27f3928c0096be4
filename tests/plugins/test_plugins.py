"""Parts of other packages and of single files are used as built-in ones, and missed when gone."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.helpers.trees import write_image
from tests.plugins.installed import HERE, install

from vireid import plugins
from vireid.cli import main
from vireid.data.layouts import DataSource
from vireid.errors import ConfigError, EvaluationError, PluginError
from vireid.evaluation import PluginReranker, Result, protocols_for
from vireid.features import load
from vireid.log import log_once
from vireid.methods import catalogue
from vireid.testing import contract
from vireid.video import load_detector

TINY = ["--epochs", "1", "--identities", "2", "--images", "2", "--device", "cpu"]

Vireid = Callable[..., str]


def forget() -> None:
    """Let the plugins be imported again, as another process does."""
    for name in [n for n in sys.modules if n.partition(".")[0] in ("vireid_toy", "my_toy")]:
        del sys.modules[name]
    plugins._digest.cache_clear()
    plugins._entry_points.cache_clear()


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages; empty."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    forget()
    yield folder
    forget()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The toy method as a file."""
    folder = HERE / "toy/src/vireid_toy"
    found = tmp_path / "my_toy.py"
    method = (folder / "method.py").read_text().replace("from vireid_toy", "from my_toy_")
    (tmp_path / "my_toy_losses.py").write_text((folder / "losses.py").read_text())
    found.write_text(method.replace("my_toy_.losses", "my_toy_losses") + 'METHODS = {"toy": TOY}\n')
    return found


@pytest.fixture
def vireid(capsys: pytest.CaptureFixture[str]) -> Vireid:
    def command(*words: str | Path, status: int = 0) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == status
        printed = capsys.readouterr()
        return printed.err.splitlines()[-1] if status else printed.out

    return command


def train(vireid: Vireid, out: Path, tree: Path, *words: str | Path) -> Path:
    vireid("train", "toy", "--layout", "sysu-mm01", "--root", tree, *TINY, "--out", out, *words)
    return out


def test_an_installed_method_from_training_to_the_gallery(
    vireid: Vireid, site: Path, tree: Path, tmp_path: Path
) -> None:
    assert "toy" not in catalogue()
    install("toy", site)
    forget()
    assert "toy-cpu" in catalogue()
    row = next(line for line in vireid("methods").splitlines() if line.startswith("toy "))
    assert "Toy, none" in row
    run = train(vireid, tmp_path / "run", tree)
    assert "toy" in vireid("evaluate", run, "--no-figures")
    [result] = (Result.load(file) for file in (run / "results").glob("*.json"))
    assert (result.about["recipe"], result.about["backbone"]) == ("toy", "one convolution")
    exported = tmp_path / "export"
    vireid("export", run, "--format", "onnx", "--out", exported)
    gallery = tmp_path / "gallery"
    vireid("gallery", "add", gallery, "--run", exported, tree / "cam1")
    query = next((tree / "cam3").rglob("*.jpg"))
    assert "0001" in vireid("gallery", "search", gallery, "--run", run, query)
    # The graph needs no plugin.
    shutil.rmtree(site)
    forget()
    assert load(exported).fingerprint == result.weights_fingerprint
    with pytest.raises(PluginError, match=r"'toy' of the package vireid-toy .* is not there"):
        load(run)


def test_variants_of_an_installed_method(
    vireid: Vireid, site: Path, tree: Path, tmp_path: Path
) -> None:
    install("toy", site)
    words = ["--layout", "sysu-mm01", "--root", tree, *TINY, "--vary", "dim=8,32", "--dry-run"]
    printed = vireid("ablate", "toy-cpu", *words, "--out", tmp_path / "grid")
    assert "dim=8" in printed
    assert "dim=32" in printed
    assert "--vary dim: 'x' does not fit" in vireid(
        "ablate", "toy", *words, "--vary", "dim=x", "--out", tmp_path / "grid", status=2
    )


def test_a_file_as_a_plugin(vireid: Vireid, file: Path, tree: Path, tmp_path: Path) -> None:
    run = train(vireid, tmp_path / "run", tree, "--plugin", file)
    assert "toy" not in catalogue()
    assert vireid("evaluate", run, status=2) == (
        f"vireid: '{run}/config.yaml' needs the plugin 'toy' of the file {file} "
        f"({_recorded(run)}), which is not there; name it with --plugin {file}, or "
        "vireid.plugins.use() in Python."
    )
    vireid("--plugin", file, "evaluate", run, "--no-figures")
    with plugins.using([file]):
        assert load(run).dimension == 16


@pytest.mark.parametrize("changed", ["my_toy.py", "my_toy_losses.py"])
def test_a_changed_file_is_refused(
    changed: str, vireid: Vireid, file: Path, tree: Path, tmp_path: Path
) -> None:
    run = train(vireid, tmp_path / "run", tree, "--plugin", file)
    before, target = _recorded(run), tmp_path / changed
    target.write_text(target.read_text() + "CHANGED = True\n")
    forget()
    sys.modules.pop("my_toy_losses", None)
    problem = vireid("evaluate", run, f"--plugin={file}", status=2)
    assert "its code has changed" in problem
    after = problem.split("write '")[1].split("'")[0]
    assert before != after
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(before, after))
    vireid("evaluate", run, "--no-figures", "--plugin", file)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A data set of the toy layout."""
    rng = np.random.default_rng(0)
    for split, identities in (("train", (1, 2)), ("test", (3, 4, 5))):
        for camera, folder in ((1, "rgb"), (3, "ir")):
            (tmp_path / "pairs" / split / folder).mkdir(parents=True)
            for identity, number in itertools.product(identities, range(2)):
                file = tmp_path / "pairs" / split / folder / f"{identity}_{number}.png"
                write_image(file, identity=identity, camera=camera, grey=camera == 3, rng=rng)
    return tmp_path / "pairs"


def test_an_installed_layout(vireid: Vireid, site: Path, pairs: Path, tmp_path: Path) -> None:
    install("toy", site)
    forget()
    assert "toy-pairs" in vireid("check", "toy-pairs", pairs)
    run = tmp_path / "run"
    data = ["--layout", "toy-pairs", "--root", pairs]
    vireid("train", "toy", *data, *TINY, "--out", run)
    printed = vireid("evaluate", run, "--no-figures")
    assert "toy-pairs, infrared to visible" in printed
    assert "toy-pairs, visible to infrared" in printed
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert [(p["group"], p["name"]) for p in config["plugins"]] == [
        ("methods", "toy"),
        ("layouts", "toy-pairs"),
    ]
    assert "--hold-out` needs images of the split val" in vireid(
        "train", "toy", *data, *TINY, "--hold-out", "--out", tmp_path / "b", status=2
    )
    shutil.rmtree(site)
    forget()
    assert "'toy-pairs' is unknown; expected one of sysu-mm01" in vireid("check", *data, status=2)


def test_a_layout_with_a_protocol_of_its_own(pairs: Path, tmp_path: Path) -> None:
    file = tmp_path / "my_protocol.py"
    toy = (HERE / "toy/src/vireid_toy/layout.py").read_text()
    file.write_text(
        f"""{toy}
from vireid.evaluation import Protocol

class Mine(ToyLayout):
    def protocols(self, settings):
        test, how = self.test(), {{"convention": "none", "cmc": "image"}}
        trials = [(test[:1], test[1:])]
        return (Protocol.of(trials, name="Mine", direction="one to all", **how),)

LAYOUTS = {{"mine": Mine, "broken": lambda source: 1}}
"""
    )
    with plugins.using([file]):
        [protocol] = protocols_for(DataSource(layout="mine", root=pairs).open())
        assert (protocol.name, len(protocol.trials[0].gallery)) == ("Mine", 11)
        with pytest.raises(PluginError, match="'broken' is opened as a 'int'"):
            DataSource(layout="broken", root=pairs).open()
    with pytest.raises(ConfigError, match="layout 'mine' is unknown"):
        DataSource(layout="mine", root=pairs)


def test_a_layout_may_not_hide_a_built_in_one(pairs: Path, tmp_path: Path) -> None:
    file = tmp_path / "my_regdb.py"
    file.write_text("LAYOUTS = {'regdb': print}")
    with plugins.using([file]), pytest.raises(PluginError, match="declares the layout 'regdb'"):
        DataSource(layout="manifest", root=pairs)


def test_an_installed_backend(vireid: Vireid, site: Path, pairs: Path, tmp_path: Path) -> None:
    install("toy", site)
    forget()
    model = tmp_path / "colours.toy"
    model.write_text("2")
    extractor = load(model)
    assert extractor.about["recipe"] == "colours.toy"
    assert extractor.about["backend"].startswith("'mean-colour' of the package vireid-toy 0.1.0 (")
    images = pairs / "test/rgb"
    vireid("gallery", "add", tmp_path / "gallery", "--run", model, images)
    found = vireid("gallery", "search", tmp_path / "gallery", "--run", model, images / "4_0.png")
    assert next(line for line in found.splitlines() if "_" in line).count("4_0.png")
    words = [images, "--out", tmp_path / "f.parquet"]
    assert "holds the features of" in vireid("encode", model, *words)
    assert "is no run folder" in vireid("encode", tmp_path / "x.toys", *words, status=2)


def test_an_installed_reranker(vireid: Vireid, site: Path, pairs: Path, tmp_path: Path) -> None:
    install("toy", site)
    forget()
    run = tmp_path / "run"
    vireid("train", "toy", "--layout", "toy-pairs", "--root", pairs, *TINY, "--out", run)
    vireid("evaluate", run, "--no-figures")
    vireid("evaluate", run, "--no-figures", "--rerank", "sharpen")
    results = [Result.load(file) for file in (run / "results").glob("*.json")]
    by_name: dict[str, set[float]] = {}
    for result in results:
        by_name.setdefault(result.reranking, set()).add(result.mean_ap.mean)
    assert sorted(name.split(" (")[0] for name in by_name) == [
        "'sharpen' of the package vireid-toy 0.1.0",
        "none",
    ]
    # The third power does not change the order.
    assert len({frozenset(scores) for scores in by_name.values()}) == 1
    assert "The re-ranker 'blunt' is unknown; expected one of k-reciprocal, sharpen" in vireid(
        "evaluate", run, "--rerank", "blunt", status=2
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [("query @ gallery.T * float('nan')", "NaN or infinite"), ("query", r"shape \(2, 3\)")],
)
def test_what_a_reranker_may_return(code: str, words: str) -> None:
    reranker = PluginReranker(eval(f"lambda query, gallery, memory_limit_bytes: {code}"), "mine")
    query, gallery = np.ones((2, 3), dtype=np.float32), np.ones((4, 3), dtype=np.float32)
    with pytest.raises(EvaluationError, match=f"the re-ranker mine returns {words}"):
        reranker(query, gallery, memory_limit_bytes=10)


def test_an_installed_detector(site: Path) -> None:
    install("toy", site)
    forget()
    boxes = load_detector("whole-frame").boxes(np.zeros((4, 6, 3), dtype=np.uint8))
    assert boxes.tolist() == [[0, 0, 6, 4, 1]]
    with pytest.raises(ConfigError, match="expected nanodet or whole-frame"):
        load_detector("half-frame")


def test_a_file_changed_after_its_import_is_recorded_as_imported(file: Path) -> None:
    with plugins.using([file]):
        before = plugins.origin("methods", "toy")
        file.write_text(file.read_text() + "CHANGED = True\n")
        assert plugins.origin("methods", "toy") == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "cannot be imported: it raises ZeroDivisionError"),
        ("X = 1", "declares nothing; expected one of the dictionaries METHODS"),
        ("METHODS = [1]", "METHODS of the plugin .* is a 'list'; expected a dictionary"),
        ('METHODS = {"a": 1}', "is a 'int'; expected a vireid.methods.Entry"),
        ('METHODS = {"A b": 1}', "'A b' .* is no name of a plugin"),
        (
            "from vireid.methods import catalogue\nE = catalogue()['dlis']\n"
            'METHODS = {"my-dlis": E}',
            "",
        ),
        (
            "from vireid.methods import catalogue\nMETHODS = {'dlis': catalogue()['dlis']}",
            "has the name of a built-in recipe",
        ),
        (
            "from dataclasses import dataclass, replace\n"
            "from vireid.methods import DLISConfig, Entry, Recipe, catalogue\n"
            "@dataclass(frozen=True, kw_only=True)\nclass Mine(DLISConfig):\n    x: int = 1\n"
            "METHODS = {'mine': replace(catalogue()['dlis'], recipe=Recipe(method=Mine()))}",
            r"Mine without a kind of their own; add a line such as `kind: ClassVar\[str\]",
        ),
    ],
)
def test_what_a_file_may_declare(code: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / f"{tmp_path.name}.py"
    file.write_text(code)
    if not words:
        with plugins.using([file]):
            assert "my-dlis-cpu" in catalogue()
        return
    with pytest.raises(PluginError, match=words), plugins.using([file]):
        catalogue()
    assert "VIREID_PLUGINS" not in os.environ


def test_files_that_are_none(vireid: Vireid, tmp_path: Path) -> None:
    assert "is no Python file" in vireid("methods", "--plugin", tmp_path / "no.py", status=2)
    (tmp_path / "json.py").write_text("METHODS = {}")
    assert "has the name of another module" in vireid(
        "methods", "--plugin", tmp_path / "json.py", status=2
    )


def test_two_plugins_of_one_name(site: Path, file: Path) -> None:
    install("toy", site)
    twice = pytest.raises(PluginError, match=r"'toy' in vireid\.methods is declared twice, by")
    with twice, plugins.using([file]):
        catalogue()


def test_a_broken_package_does_not_affect_the_others(
    vireid: Vireid, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("toy", site)
    (site / "vireid_toy/method.py").write_text("import not_installed_here\n")
    log_once.cache_clear()
    catalogue()
    assert "dlis" in catalogue()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("Left out: 'toy' in vireid.methods of the package vireid-toy 0.1.0")
    assert "No module named 'not_installed_here'" in line


def _recorded(run: Path) -> str:
    config = (run / "config.yaml").read_text()
    return config.rsplit("sha256: ", 1)[1].strip()


def test_the_public_contract_of_a_plugin(file: Path) -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "vireid.testing.contract"]
    done = subprocess.run(
        [sys.executable, *words, "--basetemp", str(file.parent / "temp")],
        env=os.environ | {"VIREID_PLUGINS": str(file)},
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


def test_the_public_contract_without_a_plugin(file: Path) -> None:
    with pytest.raises(AssertionError, match="no plugin declares a method"):
        contract.test_a_method_is_declared()
    with plugins.using([file]):
        contract.test_a_method_is_declared()
