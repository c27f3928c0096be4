"""Pixels of more than 8 bits: what each sensor's values become, and what is said about it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from tests.helpers.packed import SIZE, files, pack
from tests.helpers.trees import save_manifest

from vireid.data.bit_depth import PREVIEW, REMARKS, UNDEFINED
from vireid.data.cache import PackedImages, default_cache
from vireid.data.check import check
from vireid.data.image_stack import ImageStack
from vireid.data.images import decode_image, read_image, read_resized
from vireid.data.layouts import DataSource, Manifest
from vireid.data.tone_mapping import AUTO, Bounds, ToneMapping
from vireid.errors import ConfigError, ImageError
from vireid.types import ImageRecord

EIGHT = np.random.default_rng(0).integers(0, 256, (40, 20), dtype=np.uint8)
"""An image that uses all its 8 bits."""
DEEP = EIGHT.astype(np.uint16)


def png(values: NDArray[np.uint16], *, sbit: int = 0) -> bytes:
    """A 16-bit PNG: grey, grey and alpha, RGB or RGBA by the number of channels."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)),
            chunk(b"sBIT", bytes([sbit]) * channels) if sbit else b"",
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def tiff(values: NDArray[np.generic], tags: Mapping[int, object] = {}) -> bytes:
    file = io.BytesIO()
    own = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        own[tag] = value
    Image.fromarray(values).save(file, "TIFF", tiffinfo=own)
    return file.getvalue()


def raw_tiff(
    values: NDArray[np.generic],
    order: str,
    *,
    deflate: bool = False,
    sample_format: int = 1,
    planes: int = 1,
) -> bytes:
    """A TIFF of a kind that Pillow cannot write, in one strip (which is also all planes)."""
    channels = values.shape[2] if values.ndim == 3 else 1
    pixels = values.astype(f"{order}{values.dtype.str[1:]}").tobytes()
    strip = zlib.compress(pixels) if deflate else pixels
    tags = {256: values.shape[1], 257: len(values), 258: values.dtype.itemsize * 8}
    tags |= {259: 8 if deflate else 1, 262: 2 if channels == 3 else 1, 273: 200, 277: channels}
    tags |= {278: len(values), 279: len(strip), 284: planes, 339: sample_format}
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    for tag, value in tags.items():
        if tag == 258 and channels == 3:
            head += struct.pack(f"{order}HHII", tag, 3, 3, 190)
        else:
            head += struct.pack(f"{order}HHII", tag, 4, 1, value)
    return (head + bytes(4)).ljust(190, b"\0") + struct.pack(f"{order}5H", *[16] * 3, 0, 0) + strip


def grey(data: bytes, tone_mapping: str = "auto") -> NDArray[np.uint8]:
    """The only channel of a grey image."""
    pixels = np.asarray(decode_image(data, name="a", tone_mapping=ToneMapping.parse(tone_mapping)))
    assert (pixels == pixels[..., :1]).all()
    channel: NDArray[np.uint8] = pixels[..., 0]
    return channel


def stretched(values: NDArray[np.generic], low: float = 1, high: float = 99) -> NDArray[np.uint8]:
    """The percentile stretch, by hand."""
    ordered = np.sort(values.ravel()).astype(np.float64)
    start, end = (ordered[round((len(ordered) - 1) * p / 100)] for p in (low, high))
    levels = (values.astype(np.float64) - start) * 255 / (end - start)
    clipped: NDArray[np.float64] = np.rint(np.clip(levels, 0, 255))
    return clipped.astype(np.uint8)


def measured(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The stretch between the percentiles of the values other than 0."""
    ordered = np.sort(values[values > 0]).astype(np.float64)
    start, end = (ordered[round((len(ordered) - 1) * p / 100)] for p in (1, 99))
    levels = (values.astype(np.float64) - start) * 255 / (end - start)
    clipped: NDArray[np.float64] = np.rint(np.clip(levels, 0, 255))
    return clipped.astype(np.uint8)


class TestText:
    @pytest.mark.parametrize(
        "text",
        [
            "auto",
            "full",
            "percentile:1:99",
            "percentile:0.5:99.5",
            "bounds:29000:31000",
            "bounds:-40:1200.25",
            "celsius:-10:40",
            "bounds:yard=29000:31000,gate=28500:30500",
            "bounds:29000:31000,the gate, north=28500:30500",
            "celsius:夜=10:40",
        ],
    )
    def test_text_and_back(self, text: str) -> None:
        assert str(ToneMapping.parse(text)) == text

    def test_percentiles_by_default(self) -> None:
        assert str(ToneMapping.parse("percentile")) == "percentile:1:99"
        assert ToneMapping("percentile") == ToneMapping.parse("percentile:1:99")

    @pytest.mark.parametrize(
        "text",
        [
            *("", "Auto", "gamma", "auto:1:2", "full:0:4095", "bounds", "celsius", "bounds:"),
            *("bounds:5", "bounds:5:5", "bounds:9:5", "bounds:1:2,", "bounds:a:b", "bounds:nan:1"),
            *("bounds:1:2,3:4", "bounds:yard=1:2,yard=3:4", "percentile:-1:99", "percentile:1:101"),
            *("bounds:yard=1:2;gate=3:4", "bounds:yard:1:2", "bounds:1:2:3", "bounds :1:2"),
        ],
    )
    def test_anything_else_is_refused_with_the_forms(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            ToneMapping.parse(text)
        assert f"'{text}'" in str(caught.value)
        assert "bounds:yard=29000:31000,gate=28500:30500" in str(caught.value)

    def test_the_bounds_of_a_camera(self) -> None:
        some = ToneMapping.parse("bounds:yard=29000:31000,gate=1:2")
        assert some.of("yard") == ToneMapping("bounds", (Bounds(29_000, 31_000),))
        assert some.of("door") == AUTO
        others = ToneMapping.parse("bounds:5:6,gate=1:2")
        assert [str(others.of(name)) for name in ("gate", "door", "")] == [
            "bounds:1:2",
            "bounds:5:6",
            "bounds:5:6",
        ]
        assert ToneMapping("full").of("gate") == ToneMapping("full")

    def test_cameras_without_images_are_named(self) -> None:
        some = ToneMapping.parse("bounds:yrad=1:2,gate=1:2,5:6")
        assert some.unknown({"gate", "yrad"}) == ""
        assert "has bounds for 'yrad', but the cameras are 'gate', 'yard'" in some.unknown(
            {"yard", "gate"}
        )


class TestAuto:
    """Every way to store the same 8-bit image gives the same pixels."""

    @pytest.mark.parametrize(
        "values", [DEEP, DEEP * 257, DEEP * 256], ids=["8 in 16", "scaled", "shifted"]
    )
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_eight_bits_in_sixteen(self, values: NDArray[np.uint16], channels: int) -> None:
        assert (grey(png(values)) == EIGHT).all()
        assert (grey(tiff(values)) == EIGHT).all()
        opaque = np.full_like(values, 65_535)
        every = {1: [values], 2: [values, opaque], 3: [values] * 3, 4: [*[values] * 3, opaque]}
        assert (grey(png(np.squeeze(np.stack(every[channels], -1)))) == EIGHT).all()

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_colour_keeps_its_lower_bytes(self, order: str) -> None:
        values = np.random.default_rng(1).integers(0, 4096, (30, 20, 3), dtype=np.uint16)
        for data in (raw_tiff(values, order), raw_tiff(values, order, deflate=True), png(values)):
            pixels = np.asarray(decode_image(data, name="a"))
            assert (pixels == measured(values)).all()
            assert len(np.unique(pixels)) > 250  # Pillow alone: 16

    def test_colour_in_planes_is_refused(self) -> None:
        """Pillow reads each 16-bit plane as one of 8 bits."""
        data = raw_tiff(np.zeros((4, 4, 3), np.uint16), "<", planes=2)
        with pytest.raises(ImageError, match=r"separate planes .*interleaved channels"):
            decode_image(data, name="a")

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("deflate", [False, True])
    def test_every_byte_order_and_compression(self, order: str, deflate: bool) -> None:
        """Pillow swaps the bytes of compressed big-endian files twice."""
        signed = np.random.default_rng(0).integers(-900, 900, (50, 40))
        for kind, sample_format in ((np.int16, 2), (np.int32, 2), (np.float32, 3)):
            values = signed.astype(kind)
            data = raw_tiff(values, order, deflate=deflate, sample_format=sample_format)
            assert (grey(data) == stretched(values)).all()

    @pytest.mark.parametrize("bits", [10, 12, 14])
    def test_sensors_of_fewer_bits_are_stretched(self, bits: int) -> None:
        values = np.random.default_rng(bits).integers(0, 2**bits, (50, 40), dtype=np.uint16)
        expected = measured(values)
        for data in (png(values), tiff(values), tiff(values.astype(np.int32))):
            assert (grey(data) == expected).all()
        assert (grey(tiff(values.astype(">u2"))) == expected).all()

    @pytest.mark.parametrize("bits", [10, 12, 14])
    def test_a_depth_in_the_header_is_the_range(self, bits: int) -> None:
        values = np.random.default_rng(bits).integers(0, 2**bits, (50, 40), dtype=np.uint16)
        expected = np.rint(values * (255 / (2**bits - 1))).astype(np.uint8)
        assert (grey(png(values, sbit=bits)) == expected).all()
        assert (grey(tiff(values, {281: 2**bits - 1})) == expected).all()
        # The specification of PNG: values of fewer bits are scaled to 16.
        scaled = (values << (16 - bits)).astype(np.uint16)
        assert (grey(png(scaled, sbit=bits)) == np.rint(scaled / 257)).all()

    def test_the_maximum_of_the_image_is_no_depth(self) -> None:
        values = np.random.default_rng(0).integers(29_000, 31_000, (50, 40), dtype=np.uint16)
        assert (grey(tiff(values, {281: int(values.max())})) == stretched(values)).all()

    @pytest.mark.parametrize("maxval", [100, 255, 1023, 4095, 65_535])
    def test_pgm_is_scaled_by_its_maxval(self, maxval: int) -> None:
        values = np.random.default_rng(0).integers(0, maxval + 1, (50, 40))
        head = f"P5 40 50 {maxval}\n".encode()
        pixels = grey(head + values.astype(">u2" if maxval > 255 else "u1").tobytes())
        assert np.abs(pixels - values * (255 / maxval)).max() <= 0.51
        colour = np.repeat(values[..., None], 3, axis=2).astype(">u2" if maxval > 255 else "u1")
        assert (grey(head.replace(b"P5", b"P6") + colour.tobytes()) == pixels).all()

    def test_values_of_pgm_are_those_of_the_file(self) -> None:
        """A maximum that is the image's, as some programs write it."""
        values = radiometric(0)
        data = f"P5 32 64 {values.max()}\n".encode() + values.astype(">u2").tobytes()
        assert (grey(data) == stretched(values)).all()
        how = ToneMapping("bounds", (Bounds(29_500, 30_500),))
        assert (grey(data, str(how)) == how.apply(values).pixels).all()

    def test_radiometric_people_stay_different(self) -> None:
        """Six people in hundredths of a kelvin, whose features were all alike."""
        people = [radiometric(seed) for seed in range(6)]
        before = [np.rint(values / 257) for values in people]
        assert max(len(np.unique(levels)) for levels in before) < 12
        mapped = [grey(png(values)) for values in people]
        assert min(len(np.unique(levels)) for levels in mapped) > 150
        # Centred, as a network sees them: the mean of all is no difference between two people.
        mean = np.mean(mapped, axis=0)
        flat = np.stack([(levels - mean).ravel() for levels in mapped])
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
        assert (flat @ flat.T)[~np.eye(6, dtype=bool)].max() < 0.5

    def test_one_hot_pixel_changes_nothing_else(self) -> None:
        values = radiometric(0)
        hot = values.copy()
        hot[3, 3] = 65_535
        same = np.ones(values.shape, dtype=bool)
        same[3, 3] = False
        assert np.abs(grey(png(values)).astype(int) - grey(png(hot)))[same].max() <= 2

    def test_padding_and_dead_pixels_do_not_count(self) -> None:
        values = radiometric(0)
        padded = np.pad(values, 16)
        padded[:16, :8] = 65_535
        pixels = grey(png(padded))
        assert (pixels[16:-16, 16:-16] == stretched(values)).all()
        assert pixels[:16, :8].min() == 255
        assert pixels[-16:].max() == 0

    def test_from_a_quarter_to_half_of_the_range_it_changes_gradually(self) -> None:
        ramp = np.linspace(0, 1, 2000).reshape(50, 40)
        means = [
            grey(png((1000 + ramp * span).astype(np.uint16))).mean()
            for span in np.linspace(10_000, 60_000, 101)
        ]
        # A threshold would change the mean by 60 at once.
        assert np.abs(np.diff(means)).max() < 10

    def test_full_range(self) -> None:
        values = np.random.default_rng(0).integers(0, 65_536, (50, 40), dtype=np.uint16)
        assert (grey(png(values)) == np.rint(values / 257)).all()

    def test_signed_and_unsigned_integers(self) -> None:
        signed = np.random.default_rng(0).integers(-500, 3_000, (50, 40), dtype=np.int32)
        assert (grey(tiff(signed)) == stretched(signed)).all()
        large = signed.astype(np.int64) + 2**31
        data = bytearray(tiff(large.astype(np.uint32).view(np.int32)))
        at = data.index(struct.pack("<HHIHH", 339, 3, 1, 2, 0))
        data[at + 8] = 1  # SampleFormat: unsigned
        assert (grey(bytes(data)) == stretched(large)).all()

    def test_white_is_zero(self) -> None:
        values = radiometric(0)
        assert (grey(tiff(values, {262: 0})) == 255 - stretched(values)).all()

    def test_one_value(self) -> None:
        assert (grey(png(np.full((4, 4), 30_000, np.uint16))) == 0).all()

    def test_a_few_pixels_of_another_value(self) -> None:
        values = np.full((50, 40), 30_001, np.uint16)
        values[0, 0] = 30_101
        assert (grey(png(values)) == np.where(values > 30_001, 255, 0)).all()


class TestFloat:
    VALUES = np.random.default_rng(0).normal(30, 4, (50, 40)).astype(np.float32)

    def test_stretched(self) -> None:
        assert (grey(tiff(self.VALUES)) == stretched(self.VALUES)).all()

    def test_undefined_pixels_are_said(self) -> None:
        values = self.VALUES.copy()
        values[0, :3] = np.nan, np.inf, -np.inf
        image = decode_image(tiff(values), name="a")
        assert np.asarray(image)[0, :3, 0].tolist() == [0, 255, 0]
        assert image.info[REMARKS][1:] == (UNDEFINED,)
        rest = stretched(values[1:])
        assert np.abs(np.asarray(image)[1:, :, 0].astype(int) - rest).max() <= 1

    def test_nothing_finite_is_refused(self) -> None:
        with pytest.raises(ImageError, match=r"'a.tif' cannot be mapped .* has a finite value"):
            decode_image(tiff(np.full((4, 4), np.nan, np.float32)), name="a.tif")

    @pytest.mark.parametrize(
        "values", [VALUES, np.array([[-5, 300]], np.int32), np.array([[0, 70_000]], np.int32)]
    )
    def test_without_a_highest_value_there_is_no_full_range(
        self, values: NDArray[np.generic]
    ) -> None:
        with pytest.raises(ImageError, match=r"no highest one.*percentile, bounds or celsius"):
            grey(tiff(values), "full")


class TestGiven:
    """The other kinds, where ``auto`` would do something else."""

    VALUES = np.array([[27_315, 28_315, 29_315, 31_315, 65_535]], np.uint16)
    """0, 10, 20, 40 and 382 degrees Celsius."""

    def test_full(self) -> None:
        assert grey(png(self.VALUES), "full").tolist() == [[106, 110, 114, 122, 255]]
        assert grey(png(DEEP), "full").max() == 1

    def test_bounds(self) -> None:
        assert grey(png(self.VALUES), "bounds:28315:29315").tolist() == [[0, 0, 255, 255, 255]]

    def test_celsius(self) -> None:
        assert grey(png(self.VALUES), "celsius:0:40").tolist() == [[0, 64, 128, 255, 255]]
        degrees = (self.VALUES / 100 - 273.15).astype(np.float32)
        assert grey(tiff(degrees), "celsius:0:40").tolist() == [[0, 64, 128, 255, 255]]

    def test_percentiles(self) -> None:
        values = radiometric(1)
        expected = stretched(values, 5, 90)
        assert (grey(png(values), "percentile:5:90") == expected).all()

    @pytest.mark.parametrize(
        "text", ["full", "percentile", "bounds:29000:31000", "celsius:10:40", "bounds:x=1:2"]
    )
    @pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "JPEG"])
    def test_eight_bits_are_never_changed(self, text: str, format: str) -> None:
        file = io.BytesIO()
        Image.fromarray(EIGHT).save(file, format)
        assert (grey(file.getvalue(), text) == grey(file.getvalue())).all()


@given(
    values=arrays.arrays(np.uint16, (9, 7), elements=st.integers(0, 200)),
    gain=st.integers(1, 200),
    offset=st.integers(0, 20_000),
)
@settings(deadline=None)
def test_a_percentile_stretch_knows_no_gain_and_no_offset(
    values: NDArray[np.uint16], gain: int, offset: int
) -> None:
    how = ToneMapping("percentile")
    expected = how.apply(values).pixels
    moved = values.astype(np.int64) * gain + offset
    for kind in (np.uint16, np.int32, np.int64):
        np.testing.assert_array_equal(how.apply(moved.astype(kind)).pixels, expected)


def radiometric(seed: int) -> NDArray[np.uint16]:
    """A person in hundredths of a kelvin: a body of their own shape before a colder background."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 1, (8, 4))
    body = np.asarray(Image.fromarray(coarse.astype(np.float32)).resize((32, 64)))
    return (29_000 + 2_000 * body + rng.normal(0, 5, body.shape)).clip(0, 65_535).astype(np.uint16)


class TestOneMappingEverywhere:
    """Files, arrays of bytes, stacks and packed caches give the same pixels."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        rows = []
        for identity in range(2):
            for camera in ("hall", "yard", "gate"):
                path = f"{identity}-{camera}.png"
                pixels = EIGHT if camera == "hall" else radiometric(identity)
                Image.fromarray(pixels).save(tmp_path / path)
                own = {"path": path, "identity": identity, "camera": camera, "split": "train"}
                rows.append({**own, "modality": "visible" if camera == "hall" else "thermal"})
        return save_manifest(tmp_path / "list.csv", rows)

    TEXT = "bounds:yard=29500:30500"

    def expected(self, record: ImageRecord) -> NDArray[np.uint8]:
        how = ToneMapping.parse("bounds:29500:30500" if "yard" in record.path.name else "auto")
        return read_resized(record.path, SIZE, how)

    def fetched(self, images: ImageStack) -> NDArray[np.uint8]:
        with images:
            return images.fetch(range(len(images))).permute(0, 2, 3, 1).numpy()

    def test_stack_and_cache(
        self, tree: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        records = Manifest(tree).train()
        expected = np.stack([self.expected(record) for record in records])
        decoded.clear()
        how = ToneMapping.parse(self.TEXT)
        folder = default_cache(tree)
        for opening in range(3):
            images = (
                PackedImages(records, size=SIZE, folder=folder, tone_mapping=how)
                if opening
                else ImageStack(records, size=SIZE, tone_mapping=how)
            )
            assert (self.fetched(images) == expected).all()
            # What was converted is said each time, once.
            said = capsys.readouterr().err.splitlines()
            assert [line.split(":")[0] for line in said] == ["2 images of more than 8 bits"] * 2
            assert sum("29500 to 30500 become 0 to 255" in line for line in said) == 1
        assert len(decoded) == 2 * len(records)  # the second opening decodes nothing

    def test_a_cache_of_another_mapping_is_built_again(self, tree: Path) -> None:
        records = Manifest(tree).train()
        plain = self.fetched(pack(records, tree.parent))
        other = np.stack([self.expected(record) for record in records])
        assert (other != plain).any()
        for text, expected in ((self.TEXT, other), ("auto", plain)):
            how = ToneMapping.parse(text)
            packed = PackedImages(records, size=SIZE, folder=default_cache(tree), tone_mapping=how)
            assert (self.fetched(packed) == expected).all()
        assert files(tree.parent) == [".gz", ".lock", ".rgb"]

    def test_an_upload(self, tree: Path) -> None:
        path = tree.parent / "0-yard.png"
        for text in ("auto", "full", "percentile:2:98", "bounds:29500:30500", "celsius:15:30"):
            how = ToneMapping.parse(text)
            upload = decode_image(path.read_bytes(), name="a", tone_mapping=how)
            assert (np.asarray(upload) == np.asarray(read_image(path, how))).all()

    def test_check_names_the_camera_its_values_and_bounds(self, tree: Path) -> None:
        source = DataSource(layout="manifest", root=tree)
        report = check(source)
        found = [f for f in report.findings if f.fault.name == "narrow-range"]
        assert len(found) == 2
        [yard] = [f.what for f in found if "'yard'" in f.what]
        assert "2 infrared images of camera 'yard' with values from 28,879 to 31,042" in yard
        assert "of 0 to 65,535: 2 stretched between the percentiles 1 and 99" in yard
        bounds = "bounds:yard=28879:31042"
        assert f"--tone-mapping '{bounds}'" in yard
        given = check(source, tone_mapping=ToneMapping.parse(bounds))
        assert ["'gate'" in f.what for f in given.findings if f.fault.name == "narrow-range"] == [
            True
        ]

    def test_check_refuses_a_camera_that_is_not_there(self, tree: Path) -> None:
        source = DataSource(layout="manifest", root=tree)
        with pytest.raises(
            ConfigError, match=r"'yrad', but the cameras are 'gate', 'hall', 'yard'"
        ):
            check(source, tone_mapping=ToneMapping.parse("bounds:yrad=1:2"))

    def test_check_counts_previews_and_undefined_pixels(self, tree: Path) -> None:
        values = TestFloat.VALUES.copy()
        values[0, 0] = np.nan
        (tree.parent / "0-yard.png").write_bytes(tiff(values))
        (tree.parent / "1-yard.png").write_bytes(flir())
        report = check(DataSource(layout="manifest", root=tree))
        named = {f.fault.name: str(f) for f in report.findings}
        assert "1 image with pixels that are not a number" in named["undefined-pixels"]
        assert "1 image in FLIR's radiometric JPEG" in named["radiometric-jpeg"]

    def test_check_distinguishes_what_cannot_be_mapped_from_what_is_damaged_or_not_supported(
        self, tree: Path
    ) -> None:
        (tree.parent / "0-yard.png").write_bytes(tiff(TestFloat.VALUES))
        (tree.parent / "1-yard.png").write_bytes(raw_tiff(EIGHT.astype("f8"), "<", sample_format=3))
        report = check(DataSource(layout="manifest", root=tree), tone_mapping=ToneMapping("full"))
        named = {f.fault.name: f for f in report.findings}
        assert "1 file that cannot be mapped to 8 bits: '0-yard.png'" in str(named["unmapped"])
        assert [place.names for place in named["damaged"].places] == [("1-yard.png",)]
        assert "'1-yard.png' (its header is damaged, or its pixels are of a type" in str(report)
        assert "convert them to PNG of 8 or 16 bits" in str(report)


def flir() -> bytes:
    """A JPEG with the beginning of FLIR's segment."""
    file = io.BytesIO()
    Image.fromarray(EIGHT).save(file, "JPEG")
    data = file.getvalue()
    content = b"FLIR\0\x01\0\0FFF\0"
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


def test_the_preview_in_a_radiometric_jpeg_is_used_and_said() -> None:
    image = decode_image(flir(), name="a.jpg")
    assert image.info == {REMARKS: (PREVIEW,)}
    plain = flir().replace(b"FLIR\0", b"flir\0")
    assert decode_image(plain, name="a.jpg").info == {}
    assert (np.asarray(image) == np.asarray(decode_image(plain, name="a.jpg"))).all()
