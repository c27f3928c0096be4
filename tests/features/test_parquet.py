"""A feature file returns what was written, group by group, and no damage goes unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tests.helpers.messages import refused

from vireid.errors import ConfigError
from vireid.features import ExtractedBatch
from vireid.features.parquet import FeatureFile, write_features
from vireid.types import ImageInfo, IndexedImage, Modality, ModelInfo

MODEL = ModelInfo("0123456789abcdef", 6, {"recipe": "dlis", "Größe": '288x144 "夜"'})

texts = st.text(max_size=8)
moments = st.none() | st.datetimes(
    datetime(1900, 1, 1),
    datetime(2100, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))]),
)
images = st.builds(
    ImageInfo,
    path=st.just(Path("/a/b.jpg")) | texts.filter(lambda t: t and "\0" not in t).map(Path),
    modality=st.none() | st.sampled_from(Modality),
    camera=texts,
    identity=texts,
    time=moments,
    tracklet=texts,
    note=texts,
    added=moments,
)


def extracted(infos: list[ImageInfo], *, seed: int = 0) -> ExtractedBatch:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(infos), MODEL.dimension)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return ExtractedBatch(
        tuple(
            IndexedImage(
                replace(
                    info,
                    modality=info.modality or Modality.VISIBLE,
                    guessed=info.modality is None,
                    sha256=rng.bytes(32).hex(),
                ),
                value,
                rng.bytes(20),
            )
            for info, value in zip(infos, values, strict=True)
        )
    )


def many(number: int, *, seed: int = 0) -> ExtractedBatch:
    names = (f"/cam é/{seed}-{n}.jpg" for n in range(number))
    return extracted([ImageInfo(path=Path(name)) for name in names], seed=seed)


def same(one: ExtractedBatch, other: ExtractedBatch) -> bool:
    return (
        [i.info for i in one.images] == [i.info for i in other.images]
        and [i.thumbnail for i in one.images] == [i.thumbnail for i in other.images]
        and np.array_equal(one.values, other.values)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a b.parquet"


@given(listed=st.lists(images, max_size=5))
def test_round_trip(listed: list[ImageInfo], tmp_path_factory: pytest.TempPathFactory) -> None:
    file, batch = tmp_path_factory.mktemp("f") / "a.parquet", extracted(listed)
    assert write_features(file, [batch], MODEL) == len(listed)
    opened = FeatureFile(file)
    assert (opened.model, opened.rows) == (MODEL, len(listed))
    found = list(opened)
    assert len(found) == bool(listed)
    for read in found:
        assert same(read, batch)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_many_batches_are_read_in_groups_of_bounded_size(file: Path) -> None:
    batches = [many(number, seed=number) for number in (500, 0, 600, 3, 1400, 1)]
    taken: list[int] = []

    def stream() -> Iterator[ExtractedBatch]:
        for batch in batches:
            taken.append(len(batch))
            yield batch

    assert write_features(file, stream(), MODEL) == sum(taken) == 2504
    found = list(FeatureFile(file))
    assert max(map(len, found)) <= 1403
    assert len(found) == 3
    assert np.array_equal(
        np.concatenate([read.values for read in found]),
        np.concatenate([batch.values for batch in batches if batch.images]),
    )
    names = [image.info.path for batch in batches for image in batch.images]
    assert [image.info.path for read in found for image in read.images] == names


def test_known_images_are_left_out_and_counted(file: Path) -> None:
    batch = many(2100)
    write_features(file, [batch], MODEL)
    names = [image.info.sha256 for image in batch.images]
    # The first thousand and a half, and here and there one of the rest.
    done = {*names[:1500], *names[1500::7]}
    asked: list[str] = []

    def known(sha256: Sequence[str]) -> set[str]:
        asked.extend(sha256)
        return done.intersection(sha256)

    found = list(FeatureFile(file).unless(known))
    assert asked == names
    assert sum(read.known for read in found) == len(done)
    left = [number for number, name in enumerate(names) if name not in done]
    assert [i.info.sha256 for read in found for i in read.images] == [names[n] for n in left]
    values = np.concatenate([read.values for read in found if read.images])
    assert np.array_equal(values, batch.values[left])
    (nothing,) = {len(read) for read in FeatureFile(file).unless(lambda _: names)}
    assert nothing == 0


def test_the_parquet_file_is_as_documented(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    moment = datetime(2024, 5, 31, 22, tzinfo=timezone(timedelta(hours=2)))
    batch = extracted([ImageInfo(path=Path("/a.jpg"), time=moment), ImageInfo(path=Path("b"))])
    write_features(file, [batch], MODEL)
    table = parquet.read_table(file)
    assert table.schema.field("feature").type == pa.list_(pa.float32(), 6)
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert table.column("path").to_pylist() == ["/a.jpg", "b"]
    assert table.column("time").to_pylist() == [moment, None]
    assert table.column("guessed").to_pylist() == [True, True]
    assert json.loads(table.schema.metadata[b"vireid"]) == {
        "fingerprint": MODEL.fingerprint,
        "dimension": 6,
        "about": MODEL.about,
    }


def test_a_failure_while_writing_leaves_the_old_file(file: Path) -> None:
    write_features(file, [many(3)], MODEL)
    before = file.read_bytes()

    def broken() -> Iterator[ExtractedBatch]:
        yield many(2000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(file, broken(), MODEL)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def read_all(file: Path) -> list[ExtractedBatch]:
    return list(FeatureFile(file))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-9],
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: b"not a file of features",
    ],
)
def test_a_damaged_file_is_refused(file: Path, damage: Callable[[bytes], bytes]) -> None:
    write_features(file, [many(30)], MODEL)
    file.write_bytes(damage(file.read_bytes()))
    assert refused(lambda: read_all(file)).startswith(f"'{file}' is damaged (")


def test_no_flipped_bit_of_a_feature_goes_unnoticed(file: Path) -> None:
    batch = many(30)
    write_features(file, [batch], MODEL)
    whole = file.read_bytes()
    at = whole.index(batch.values[17].tobytes())
    for bit in (0, 5, 9, 24 * 8 - 1):
        damaged = bytearray(whole)
        damaged[at + bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        assert "is damaged (" in refused(lambda: read_all(file))
    file.write_bytes(whole)
    assert len(read_all(file)[0]) == 30


def test_a_foreign_file_is_refused(file: Path) -> None:
    parquet.write_table(pa.table({"path": ["a.jpg"], "feature": [[1.0]]}), file)
    message = refused(lambda: read_all(file))
    assert "was not written by vireid; expected a file that `vireid encode`" in message


def test_invalid_rows_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    for damaged, why in ((0.5, "norm 1"), (np.nan, "norm 1")):
        batch = many(3)
        batch.images[1].feature[:] *= damaged
        write_features(file, [batch], MODEL)
        assert why in refused(lambda: read_all(file))
    write_features(file, [many(3)], MODEL)
    table = parquet.read_table(file)
    modality = pa.array(["visible", "x-ray", "visible"])
    place = table.schema.get_field_index("modality")
    parquet.write_table(table.set_column(place, "modality", modality), file)
    assert "x-ray" in refused(lambda: read_all(file))


def test_names_of_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.npz' ends in '\.npz'; expected .* \.parquet\."):
        write_features(tmp_path / "a.npz", [], MODEL)
    with pytest.raises(ConfigError, match=r"'\.npz'"):
        FeatureFile(tmp_path / "a.npz")
    assert "is no file; expected one that" in refused(lambda: read_all(tmp_path / "a.parquet"))
    assert list(tmp_path.iterdir()) == []
