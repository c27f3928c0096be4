"""The run folder's own files."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.data.layouts import DataSource
from vireid.errors import ConfigError, RunError
from vireid.methods import DLISConfig, dlis
from vireid.runs import Run, RunFolder
from vireid.training import fit


@given(
    seed=st.integers(0, 2**31),
    weights=st.sampled_from(["imagenet", "none", Path("a b/ü.pth"), Path("true")]),
    shared=st.sampled_from([None, "stem", "layer4"]),
    center=st.floats(0, 10),
)
def test_the_config_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    weights: Path,
    shared: None,
    center: float,
) -> None:
    recipe = replace(
        dlis.strong_recipe(),
        method=DLISConfig(weights=weights, shared_from=shared, center=center, size=(96, 48)),
    )
    data = DataSource(layout="regdb", root=Path("ø/cam"), trial=2)
    run = Run(name="dlis-strong", recipe=recipe, data=data, seed=seed)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.start(run)
    assert folder.read_config() == run


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed: 0", "seed: many", "seed"),
        ("stripes: 6", "strips: 6", "strips"),
        ("trial: 1", "trail: 1", "trail"),
        ("stripes: 6", "stripes: 0", "'0' stripes"),
        ("name: dlis", "name: [", "config.yaml"),
        ("dim: 512", "dim: 10000000000", "'dim' is 10000000000"),
        ("center: 0.5", "center: .nan", "'nan'"),
        ("- 288", "- 1000000000", "'1000000000 144' is out of range"),
        ("seed: 0", "seed: " + "9" * 5000, "4300 digits"),
        ("seed: 0", "seed: 9223372036854775808", "9223372036854775808"),
        ("clip: 0.0", "clip: .inf", "'inf'"),
        ("seed: 0", "seed: &a 0\nother: *a", "has an alias"),
        ("seed: 0", "seed: " + "[" * 30_000, "more than 20 levels"),
        ("seed: 0", "seed: 0 #" + "x" * 70_000, "more than 65,536 bytes"),
    ],
)
def test_an_edited_config_is_refused_by_name(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    data = DataSource(layout="regdb", root=Path("x"))
    folder.start(Run(name="dlis", recipe=dlis.recipe(), data=data))
    text = folder.config_file.read_text()
    assert old in text
    folder.config_file.write_text(text.replace(old, new))
    with pytest.raises(RunError, match="cannot be read") as caught:
        folder.read_config()
    assert words in str(caught.value)


def test_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run.zip").touch()
    with pytest.raises(RunError, match="is no run folder: it is a file"):
        RunFolder(tmp_path / "run.zip").read_config()
    with pytest.raises(RunError, match="no run folder"):
        RunFolder(tmp_path).read_config()
    with pytest.raises(RunError, match="no run folder"):
        RunFolder(tmp_path).read_model()


def test_a_damaged_model_is_refused(finished: Path, tmp_path: Path) -> None:
    data = bytearray((finished / "model.safetensors").read_bytes())
    (tmp_path / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    folder = RunFolder(tmp_path)
    data[-5] ^= 1
    folder.model_file.write_bytes(data)
    with pytest.raises(RunError, match="damaged"):
        folder.read_model()
    folder.model_file.write_bytes(data[:-100])
    with pytest.raises(RunError, match="damaged"):
        folder.read_model()


def test_damaged_metrics_are_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_metrics([{"epoch": 1}, {"epoch": 2}])
    whole = folder.metrics_file.read_text()
    folder.metrics_file.write_text(whole[:-3])
    with pytest.raises(RunError, match=r"metrics\.jsonl' cannot be read.*--resume"):
        folder.read_metrics()


@dataclass(frozen=True, kw_only=True)
class Outside(DLISConfig):
    """A method of a user."""

    kind: ClassVar[str] = "outside"


@dataclass(frozen=True, kw_only=True)
class Disguised(DLISConfig):
    """A method of a user that config.yaml would take for another one."""


def _options(config: DLISConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(config)}


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (Outside, {}, "recipe.method: the kind 'outside' is unknown"),
        (Disguised, {}, "method is a 'Disguised', and is read as a 'DLISConfig'"),
        (DLISConfig, {"palm": object()}, "Unable to serialize"),
        (DLISConfig, {"palm": "layer9"}, "recipe.method.palm: Input should be"),
        (DLISConfig, {"weights": "w.pth"}, "weights is a 'str', and is read as a 'PosixPath'"),
        (DLISConfig, {"size": [64, 32]}, "size is a 'list', and is read as a 'tuple'"),
    ],
)
def test_a_run_that_could_not_be_loaded_is_refused_before_the_first_step(
    kind: type[DLISConfig], changes: dict[str, Any], words: str, run: Run, tmp_path: Path
) -> None:
    given = run.recipe.method
    assert isinstance(given, DLISConfig)
    method = kind(**{**_options(given), **changes})
    with pytest.raises(ConfigError, match="could be trained but not loaded") as caught:
        fit(replace(run, recipe=replace(run.recipe, method=method)), tmp_path / "out")
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()
