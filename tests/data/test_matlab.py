"""MATLAB files are read like by SciPy, and no damage ends the process."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from tests.helpers.matlab_files import FEATURES, TABLE

from vireid.data.matlab import read_matlab


def assert_equal(one: Any, other: Any) -> None:
    assert one.dtype == other.dtype
    if one.dtype == object:
        assert one.shape == other.shape
        for mine, theirs in zip(one.flat, other.flat, strict=True):
            assert_equal(mine, theirs)
    elif other.size:
        np.testing.assert_array_equal(one, other)
    else:
        assert one.size == 0


def drawn(rng: np.random.Generator, depth: int = 0) -> NDArray[Any]:
    """An array of a random type, or nested cell arrays of such."""
    if depth < 3 and rng.random() < 0.5:
        cells = np.empty(rng.integers(1, 4, 2), object)
        for index in np.ndindex(*cells.shape):
            cells[index] = drawn(rng, depth + 1)
        return cells
    dtype = rng.choice(["u1", "i2", "u2", "i4", "f4", "f8", "i8"])
    return rng.integers(0, 100, rng.integers(0, 4, rng.integers(2, 4))).astype(dtype)


@pytest.mark.parametrize("compressed", [True, False])
def test_it_reads_what_scipy_reads(tmp_path: Path, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.mat"
    for _ in range(30):
        contents = {name: drawn(rng) for name in ("other", "wanted", "last")}
        savemat(path, contents, do_compression=compressed)
        assert_equal(read_matlab(path, "wanted"), loadmat(path)["wanted"])
        assert read_matlab(path, "missing") is None


def test_files_of_matlab_itself() -> None:
    """Files of MATLAB 5.3 to 8 on three systems, both byte orders, that SciPy is tested with."""
    folder = Path(scipy.io.__file__).parent / "matlab/tests/data"
    names = ["big_endian", "miutf8_array_name", "testbool_8_WIN64", "testscalarcell_7.4_GLNX86"]
    names += ["testemptycell_5.3_SOL2"]
    for kind in ("3dmatrix", "cellnest", "double", "minus"):
        names += [f"test{kind}_{made}" for made in ("6.1_SOL2", "6.5.1_GLNX86", "7.4_GLNX86")]
    for name in names:
        theirs = loadmat(folder / f"{name}.mat")
        key = "floats" if "floats" in theirs else next(k for k in theirs if k[0] != "_")
        mine = read_matlab(folder / f"{name}.mat", key)
        assert mine is not None
        assert_equal(mine, theirs[key])


@pytest.mark.parametrize(("data", "name"), [(TABLE, "rand_perm_cam"), (FEATURES, "feature")])
def test_a_file_that_crashes_scipy(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="an array is damaged"):
        read_matlab(path, name)


@pytest.mark.parametrize("compressed", [True, False])
def test_every_flipped_bit_is_read_or_an_error(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    cells = np.empty((2, 1), object)
    cells[:, 0] = [np.arange(12.0).reshape(3, 4), np.empty((0, 0))]
    savemat(path, {"other": 1, "feature": cells}, do_compression=compressed)
    whole, rng, errors = path.read_bytes(), random.Random(0), 0
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[rng.randrange(124, len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            read_matlab(path, "feature")
        except ValueError:
            errors += 1
    assert errors > 50


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        ({"a": "text"}, "class 'char'; expected real numbers"),
        ({"a": {"b": 1}}, "class 'struct'"),
        ({"a": np.array([[1j]])}, "class 'complex'"),
        ({"a": np.array([1, "text", 2], object)}, "in cell 2, an array is of the class 'char'"),
    ],
)
def test_other_classes(tmp_path: Path, contents: dict[str, Any], told: str) -> None:
    savemat(tmp_path / "a.mat", contents)
    with pytest.raises(ValueError, match=told):
        read_matlab(tmp_path / "a.mat", "a")


def nested(levels: int) -> NDArray[Any]:
    array: NDArray[Any] = np.eye(1)
    for _ in range(levels):
        cell = np.empty((1, 1), object)
        cell[0, 0] = array
        array = cell
    return array


def claiming(whole: bytes) -> bytes:
    """A compressed variable that claims 3 GiB."""
    stream = zlib.decompress(whole[136:])
    content = zlib.compress(stream[:4] + (3 << 30).to_bytes(4, "little") + stream[8:])
    return whole[:132] + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda whole: b"", "no header"),
        (lambda whole: whole[:130], "truncated"),
        (lambda whole: whole[:-10], "truncated"),
        (lambda whole: whole[:124] + b"\0\2IM" + whole[128:], "version 7.3"),
        (claiming, "3,221,225,472 bytes; expected at most 2,147,483,648"),
    ],
)
def test_damaged(tmp_path: Path, damage: Callable[[bytes], bytes], told: str) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"a": np.eye(9)}, do_compression=True)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=told):
        read_matlab(path, "a")


def test_cells_within_cells_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"a": nested(8)})
    assert read_matlab(path, "a") is not None
    savemat(path, {"a": nested(9)})
    with pytest.raises(ValueError, match=r"in cell 1, .* on level 9"):
        read_matlab(path, "a")
