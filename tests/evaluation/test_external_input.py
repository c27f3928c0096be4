"""Arrays and .npz files of features: what is taken, and a sentence for what is not."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vireid.errors import EvaluationError
from vireid.evaluation import Ranking
from vireid.evaluation.external import ExternalFeatures, score_features


class TestNpz:
    def test_file_scores_as_its_arrays(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        sides, loaded = [], []
        for name in ("q.npz", "g.npz"):
            values = rng.standard_normal((20, 6))
            identities, cameras = np.arange(20) % 4, rng.integers(1, 4, 20)
            sides.append(ExternalFeatures(values, identities, cameras))
            np.savez(
                tmp_path / name,
                features=values,
                identities=identities.astype(np.int16),
                cameras=cameras.astype(np.uint8),
                epoch=np.array([{"not": "looked at"}], dtype=object),
            )
            loaded.append(ExternalFeatures.load(tmp_path / name))
        result = score_features(*loaded, exclude_own_camera=True)
        assert result == score_features(*sides, exclude_own_camera=True)
        assert result != score_features(*sides)

    def test_names_are_text_or_bytes(self, tmp_path: Path) -> None:
        names = ["cam3/ü.jpg", "cam6/b c.jpg"]
        for kind, array in (("U", np.array(names)), ("S", np.char.encode(names, "utf-8"))):
            assert array.dtype.kind == kind
            np.savez_compressed(tmp_path / "f.npz", features=np.eye(2), names=array)
            assert ExternalFeatures.load(tmp_path / "f.npz").names == tuple(names)

    def test_nothing_is_unpickled(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "sprung",))

        for key in ("features", "identities", "cameras", "names"):
            arrays = {"features": np.eye(1), key: np.array([Trap()], dtype=object)}
            np.savez(tmp_path / "objects.npz", **arrays)  # type: ignore[arg-type]
            with pytest.raises(EvaluationError, match=r"Python objects.*np\.savez\(FILE"):
                ExternalFeatures.load(tmp_path / "objects.npz")
        (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
        with pytest.raises(EvaluationError, match="Python objects"):
            ExternalFeatures.load(tmp_path / "pickle.npz")
        assert not (tmp_path / "sprung").exists()
        pickle.loads((tmp_path / "pickle.npz").read_bytes())
        assert (tmp_path / "sprung").exists()

    def test_damaged_files(self, tmp_path: Path) -> None:
        path = tmp_path / "f.npz"
        np.savez_compressed(path, features=np.random.default_rng(0).standard_normal((50, 20)))
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 255
        for damaged in (b"", whole[: len(whole) // 2], whole[:-1], bytes(flipped), b"no archive"):
            path.write_bytes(damaged)
            with pytest.raises(EvaluationError, match=r"f\.npz' is damaged, not an \.npz"):
                ExternalFeatures.load(path)

    def test_other_files(self, tmp_path: Path) -> None:
        with pytest.raises(EvaluationError, match=r"q\.npz' is not a file"):
            ExternalFeatures.load(tmp_path / "q.npz")
        with pytest.raises(EvaluationError, match="is not a file"):
            ExternalFeatures.load(tmp_path)
        np.save(tmp_path / "lone.npy", np.eye(2))
        with pytest.raises(EvaluationError, match=r"not an \.npz file"):
            ExternalFeatures.load(tmp_path / "lone.npy")
        np.savez(tmp_path / "keys.npz", feats=np.eye(2), pids=np.arange(2))
        with pytest.raises(EvaluationError, match="no array 'features' but 'feats', 'pids'"):
            ExternalFeatures.load(tmp_path / "keys.npz")

    def test_message_names_the_file(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "q.npz", features=np.eye(2), identities=np.array([0.0, 1.0]))
        with pytest.raises(EvaluationError, match=r"identities of type float64.*q\.npz'"):
            ExternalFeatures.load(tmp_path / "q.npz")


class TestArrays:
    @pytest.mark.parametrize(
        "values",
        [
            np.zeros(4),
            np.zeros((2, 3, 4)),
            np.zeros((0, 8)),
            np.zeros((8, 0)),
            np.array([["a"]]),
            np.eye(2) > 0,
            np.eye(2) * 1j,
        ],
    )
    def test_features_of_another_form(self, values: NDArray[Any]) -> None:
        expected = rf"features of type {values.dtype} and shape .* in the caller's arrays; expected"
        with pytest.raises(EvaluationError, match=expected.replace("<", "[<]")):
            ExternalFeatures(values)

    @pytest.mark.parametrize("column", ["identities", "cameras"])
    @pytest.mark.parametrize(
        "values",
        [
            np.array([1.0, 2.0]),
            np.array(["0001", "0002"]),
            np.array([True, False]),
            np.array([1, 2, 3]),
            np.array([[1], [2]]),
            np.array(1),
        ],
    )
    def test_columns_of_another_form(self, column: str, values: NDArray[Any]) -> None:
        with pytest.raises(EvaluationError, match=f"{column} of type .* expected 2 integers, one"):
            ExternalFeatures(np.eye(2), **{column: values})  # type: ignore[arg-type]

    @pytest.mark.parametrize("names", [["a"], [1, 2], [["a"], ["b"]], [Path("a"), Path("b")]])
    def test_names_of_another_form(self, names: Any) -> None:
        with pytest.raises(EvaluationError, match=r"names of type .* expected 2 texts, one"):
            ExternalFeatures(np.eye(2), names=names)

    @pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8])
    def test_any_kind_of_number_becomes_float32(self, kind: type[np.generic]) -> None:
        given = np.arange(1, 5).reshape(2, 2).astype(kind)
        values = ExternalFeatures(given).values
        assert values.dtype == np.float32
        assert values.tolist() == [[1, 2], [3, 4]]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
    def test_not_finite(self, bad: float) -> None:
        values = np.ones((3, 2))
        values[1, 0] = bad
        gallery = ExternalFeatures(np.eye(2), np.arange(2))
        with pytest.raises(EvaluationError, match=r"NaN or infinity in .* 'query/000001';"):
            score_features(ExternalFeatures(values, np.arange(3)), gallery)

    def test_zero(self) -> None:
        query = ExternalFeatures(np.eye(2), np.arange(2))
        gallery = ExternalFeatures(
            np.array([[0, 0], [1, 2]]), np.arange(2), names=["a.jpg", "b.jpg"]
        )
        with pytest.raises(EvaluationError, match=r"feature of 'gallery/a\.jpg' is all zero"):
            score_features(query, gallery)
        score_features(query, gallery, ranking=Ranking(similarity="euclidean"))

    def test_a_name_twice(self) -> None:
        query = ExternalFeatures(np.eye(2), np.arange(2), names=["a.jpg", "a.jpg"])
        with pytest.raises(EvaluationError, match=r"'query/a\.jpg' more than once"):
            score_features(query, ExternalFeatures(np.eye(2), np.arange(2)))

    def test_the_same_name_on_both_sides(self) -> None:
        both = ExternalFeatures(np.eye(2), np.arange(2), names=["a.jpg", "b.jpg"])
        assert score_features(both, both).mean_ap.mean == 1

    def test_arrays_given_are_not_changed(self) -> None:
        values, identities = np.array([[3.0, 4.0]]), np.array([7])
        features = ExternalFeatures(values, identities)
        score_features(features, features)
        assert (values.tolist(), identities.tolist()) == ([[3, 4]], [7])
