"""Faults to plant into a tiny tree in true form: one each, by one change of files."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat, savemat
from tests.helpers.trees import write_image


def replace_pixels(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def no_split_file(root: Path) -> None:
    for path in (root / "exp").glob("val_id.*"):
        path.unlink()


def deeper(root: Path) -> None:
    inside = root / "downloaded" / "SYSU-MM01"
    inside.mkdir(parents=True)
    for path in list(root.iterdir()):
        if path.name != "downloaded":
            path.rename(inside / path.name)


def no_permutation(root: Path) -> None:
    path = root / "exp/rand_perm_cam.mat"
    table = loadmat(path)["rand_perm_cam"]
    table[3, 0][9, 0][7] = [1, 1]
    savemat(path, {"rand_perm_cam": table})


def unlisted_identity(root: Path) -> None:
    folder = root / "cam4/0999"
    folder.mkdir()
    write_image(
        folder / "0001.jpg", identity=999, camera=4, grey=False, rng=np.random.default_rng(9)
    )


def a_zip(root: Path) -> None:
    with zipfile.ZipFile(root / "cam1/0001/0001.jpg", "w") as file:
        file.writestr("0001.jpg", b"x")


def another_format(root: Path) -> None:
    path = root / "cam1/0001/0001.jpg"
    with Image.open(path) as image:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def orientation_of_zero(root: Path) -> None:
    path = root / "cam1/0001/0001.jpg"
    exif = Image.Exif()
    exif[0x0112] = 0
    segment = exif.tobytes()
    image = path.read_bytes()
    head = b"\xff\xe1" + struct.pack(">H", len(segment) + 2)
    path.write_bytes(image[:2] + head + segment + image[2:])


def too_large(root: Path) -> None:
    path = root / "cam1/0001/0001.jpg"
    Image.new("RGB", (1, 1)).save(path, "BMP")
    header = bytearray(path.read_bytes())
    header[18:26] = struct.pack("<ii", 20_000, 20_000)  # width and height
    path.write_bytes(header)


def dangling_link(root: Path) -> None:
    path = root / "cam1/0001/0001.jpg"
    path.unlink()
    path.symlink_to(root / "nowhere.jpg")


def copied(source: str, target: str) -> Callable[[Path], object]:
    return lambda root: shutil.copy(root / source, root / target)


def shared_with_another_encoding(root: Path) -> None:
    """The same thermal pixels under another identity, as one grey channel instead of three."""
    files = (root / "idx/train_thermal_1.txt").read_text().split()[::2]
    one, other = root / files[0], root / files[-1]
    with Image.open(one) as image:
        image.convert("L").save(other)
    assert one.parent != other.parent
    assert one.read_bytes() != other.read_bytes()


def in_half(root: Path, trial: int, half: str) -> tuple[str, str]:
    """The first folder of a half of a trial, and one of its visible files."""
    file = (root / f"idx/{half}_visible_{trial}.txt").read_text().split()[0]
    return file.split("/")[1], file


def shared_by_halves(root: Path) -> None:
    shutil.copy(root / in_half(root, 1, "train")[1], root / in_half(root, 1, "test")[1])


def colour_in_infrared(root: Path) -> None:
    shutil.copy(root / "cam5/0001/0001.jpg", root / "cam3/0001/0001.jpg")
    # Another image than that of camera 5, or it would be a copy too.
    with Image.open(root / "cam3/0001/0001.jpg") as image:
        replace_pixels(root / "cam3/0001/0001.jpg", np.asarray(image)[:, ::-1])


def grey_in_visible(root: Path) -> None:
    path = sorted((root / "Visible/3").iterdir())[0]
    with Image.open(path) as image:
        replace_pixels(path, np.asarray(image.convert("L")))


def flat(root: Path) -> None:
    for name in ("cam1/0001/0001.jpg", "cam2/0005/0002.jpg"):
        replace_pixels(root / name, np.zeros((48, 24, 3)))


def tiny(root: Path) -> None:
    with Image.open(root / "cam1/0001/0001.jpg") as image:
        image.crop((0, 0, 24, 5)).save(root / "cam1/0001/0001.jpg")


def no_infrared(root: Path) -> None:
    for camera in (3, 6):
        shutil.rmtree(root / f"cam{camera}/0005")


def one_infrared(root: Path) -> None:
    shutil.rmtree(root / "cam6/0005")
    for path in sorted((root / "cam3/0005").iterdir())[1:]:
        path.unlink()


def no_thermal_in_test(root: Path) -> None:
    folder, _ = in_half(root, 1, "test")
    shutil.rmtree(root / "Thermal" / folder)
    for path in (root / "idx").glob("*_thermal_*.txt"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if f"/{folder}/" not in line))


def list_twice(root: Path) -> None:
    path = root / "idx/train_thermal_4.txt"
    append(path, path.read_text().splitlines()[0] + "\n")


def both_halves(root: Path) -> None:
    _, file = in_half(root, 7, "test")
    append(root / "idx/train_visible_7.txt", f"{file} 99\n")


def two_labels(root: Path) -> None:
    path = root / "idx/train_visible_2.txt"
    path.write_text(path.read_text().replace(" 0\n", " 77\n", 1))


def unlisted_file(root: Path) -> None:
    write_image(
        root / "Visible/3/new.bmp", identity=3, camera=1, grey=False, rng=np.random.default_rng(9)
    )
