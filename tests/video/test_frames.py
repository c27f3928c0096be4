"""Frames of videos, folders and streams, whole and damaged."""

import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.videos import SIZE, scene, walk, write_video

from vireid.errors import ConfigError, DatasetError, VideoError
from vireid.video import Frame, FrameFolder, Source, VideoFile
from vireid.video.sources import open_sources


def frames_of(source: Source, fps: float = 5.0) -> list[Frame]:
    return list(source.frames(fps))


def video(path: Path) -> VideoFile:
    return VideoFile(str(path), "gate")


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "ts", "webm"])
def test_containers(tmp_path: Path, ending: str) -> None:
    codec = "libvpx" if ending == "webm" else "mpeg4"
    path = write_video(tmp_path / f"a.{ending}", walk(30), codec=codec)
    found = frames_of(video(path))
    assert [frame.number for frame in found] == list(range(0, 30, 2))
    np.testing.assert_allclose([f.seconds for f in found], np.arange(15) / 5, atol=0.01)
    for frame in found:
        assert np.abs(frame.image.astype(int) - scene(10 + 2 * frame.number)).mean() < 8


def test_a_seek_gives_the_same_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", walk(60))
    whole = frames_of(video(path))
    rest = list(video(path).frames(5.0, after=whole[19].seconds))
    assert [(f.seconds, f.number) for f in rest] == [(f.seconds, f.number) for f in whole[20:]]
    for one, other in zip(rest, whole[20:], strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_a_variable_frame_rate(tmp_path: Path) -> None:
    # Ten frames a second, then one every 0.7 seconds.
    times = [n if n < 10 else 10 + 7 * (n - 10) for n in range(20)]
    path = write_video(tmp_path / "a.mkv", walk(20), times=times.__getitem__)
    found = frames_of(video(path))
    expected = [0, 2, 4, 6, 8, *times[10:]]
    np.testing.assert_allclose([10 * frame.seconds for frame in found], expected, atol=0.05)


def test_the_middle_of_a_video_is_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_video(tmp_path / "a.mkv", walk(60)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    found = frames_of(video(tmp_path / "cut.mkv"))
    assert 5 < len(found) < 20
    said = capsys.readouterr().err
    assert "cut.mkv' ends after 0:00:0" in said
    assert "of 0:00:06.0: it is cut; what it has is kept." in said


def test_damage_inside_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", walk(60))
    data = bytearray(path.read_bytes())
    for offset in range(0, 300, 7):
        data[len(data) // 2 + offset] = 255
    path.write_bytes(data)
    found = frames_of(video(path), 100.0)
    # What follows the damage is there, and no damaged frame is.
    assert found[-1].number == 59
    assert 50 < len(found) < 60
    for frame in found[-5:]:
        assert np.abs(frame.image.astype(int) - scene(10 + 2 * frame.number)).mean() < 8
    said = capsys.readouterr().err
    expected = (
        r"a\.mp4' is damaged after 0:00:0\d\.\d \(.+\); \d+ packets? or frames? (is|are) passed"
    )
    assert re.search(expected, said)


def test_gaps_are_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = [*range(10), *range(40, 50), *range(62, 70)]
    path = write_video(tmp_path / "a.mkv", walk(28), times=times.__getitem__)
    frames_of(video(path))
    said = capsys.readouterr().err
    assert "a.mkv' has 2 gaps without frames, the longest of 3.1 s after 0:00:00.9." in said


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "cannot be opened (Invalid data"),
        (lambda data: b"", "cannot be opened (Invalid data"),
        (lambda data: b"no video\n" * 100, "It seems to be text that begins with 'no video"),
    ],
)
def test_no_video(damage: object, words: str, tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", walk(10)).read_bytes()
    (tmp_path / "a.mp4").write_bytes(damage(data))  # type: ignore[operator]
    with pytest.raises(VideoError) as error:
        open_sources([str(tmp_path / "a.mp4")], camera="gate")
    assert words in str(error.value)


def test_a_video_without_frames(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mkv", walk(10)).read_bytes()
    (tmp_path / "a.mkv").write_bytes(data[:600])
    with pytest.raises(VideoError, match=r"a\.mkv' has no frame that can be decoded; expected a"):
        frames_of(video(tmp_path / "a.mkv"))


def test_a_codec_that_is_missing(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mkv", walk(10)).read_bytes()
    (tmp_path / "a.mkv").write_bytes(data.replace(b"V_MPEG4/ISO/ASP", b"V_OTHER/ISO/ASP"))
    with pytest.raises(VideoError, match=r"coded by a codec that this FFmpeg lacks; expected"):
        video(tmp_path / "a.mkv")


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_rotated_video_is_turned_upright(tmp_path: Path, turns: int) -> None:
    path = write_video(tmp_path / "a.mp4", walk(4))
    stored = frames_of(video(path))[0].image
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    one = 1 << 16
    # Clockwise by 90 degrees: the matrix of the track header.
    a, b = [(0, one), (-one, 0), (0, -one)][turns - 1]
    data[at : at + 36] = struct.pack(">9i", a, b, 0, -b, a, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    np.testing.assert_array_equal(frames_of(video(path))[0].image, np.rot90(stored, -turns))


def thermal(frames: int) -> Iterator[np.ndarray]:
    for number in range(frames):
        image = np.full(SIZE, 29_000, dtype=np.uint16)
        image[30:90, 10 + 2 * number : 34 + 2 * number] = 31_000
        yield image


def test_videos_of_other_depths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ten = write_video(tmp_path / "ten.mkv", walk(4), codec="ffv1", pixels="yuv420p10le")
    image = frames_of(video(ten))[0].image
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - scene(10)).mean() < 4
    grey = write_video(tmp_path / "grey.mkv", walk(4), codec="ffv1", pixels="gray")
    image = frames_of(video(grey))[0].image
    assert (image == image[..., :1]).all()
    assert image[60, 20, 0] > 200 > 60 > image[5, 5, 0]
    assert capsys.readouterr().err == ""
    deep = write_video(
        tmp_path / "deep.mkv", thermal(4), codec="ffv1", pixels="gray16le", given="gray16le"
    )
    image = frames_of(video(deep))[0].image
    assert (image[60, 20] == 255).all()
    assert (image[5, 5] == 0).all()
    said = capsys.readouterr().err
    assert said.count("have more than 8 bits and were stretched between the percentiles 1") == 1


def test_the_creation_time_of_the_container(tmp_path: Path) -> None:
    created = {"creation_time": "2026-05-04T12:00:00.000000Z"}
    path = write_video(tmp_path / "a.mp4", walk(10), metadata=created)
    assert [frame.time for frame in frames_of(video(path), 2.0)] == [
        datetime(2026, 5, 4, 12, 0, 0, 500_000 * half, tzinfo=UTC) for half in (0, 1)
    ]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert VideoFile(str(path), "gate", start).start == start


def test_a_folder_of_frames_in_the_order_of_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 9, 10, 11):
        Image.fromarray(scene(number)).save(tmp_path / f"frame_{number}.png")
    (tmp_path / "frame_9.png").write_bytes(b"\x89PNG damaged")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    [source] = open_sources([str(tmp_path)], camera="gate", start=start, fps=2.0)
    assert isinstance(source, FrameFolder)
    found = frames_of(source)
    assert [Path(f.file).stem for f in found] == ["frame_1", "frame_2", "frame_10", "frame_11"]
    assert [f.time for f in found] == [start + timedelta(seconds=s) for s in (0.0, 0.5, 1.5, 2.0)]
    said = capsys.readouterr().err
    assert f"1 frame of '{tmp_path}' is passed over, the first: '{tmp_path}/frame_9.png'" in said


def test_camera_and_time_from_names(tmp_path: Path) -> None:
    for number, second in enumerate((7, 3, 5)):
        Image.fromarray(scene(number)).save(tmp_path / f"camA_20260504T12000{second}_{number}.png")
    write_video(tmp_path / "camB_20260504T130000.mp4", walk(5))
    pattern = "cam{camera}_{time:%Y%m%dT%H%M%S}{any}.png"
    with pytest.raises(ConfigError, match=r"does not match 'camB_20260504T130000\.mp4'"):
        open_sources([str(tmp_path)], camera="", pattern=pattern)
    for field, said in (("time", "expected ISO 8601"), ("modality", "expected visible")):
        with pytest.raises(ConfigError, match=rf"reads from '.*' 'cam.*'; {said}"):
            open_sources([str(tmp_path)], camera="gate", pattern=f"{{{field}}}_{{any}}")
    (tmp_path / "camB_20260504T130000.mp4").rename(tmp_path / "camB_20260504T130000_x.mp4")
    pattern = "cam{camera}_{time:%Y%m%dT%H%M%S}_{any}"
    clip, folder = open_sources([str(tmp_path)], camera="", pattern=pattern)
    assert (clip.camera, folder.camera) == ("B", "A")
    assert clip.start == datetime(2026, 5, 4, 13, tzinfo=UTC)
    assert [f.time and f.time.second for f in frames_of(folder)] == [3, 5, 7]


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no\.mp4' does not exist; expected a video"):
        open_sources([str(tmp_path / "no.mp4")], camera="gate")
    with pytest.raises(DatasetError, match="is a folder without any video or image"):
        open_sources([str(tmp_path)], camera="gate")
    path = write_video(tmp_path / "a.mp4", walk(4))
    with pytest.raises(ConfigError, match=r"a\.mp4' has no camera; expected its name as --camera"):
        open_sources([str(path)], camera="")


def test_of_several_the_bad_ones_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_video(tmp_path / "a.mp4", walk(4))
    (tmp_path / "b.mp4").write_bytes(good.read_bytes()[:200])
    assert [s.name for s in open_sources([str(tmp_path)], camera="gate")] == [str(good)]
    assert "b.mp4' cannot be opened" in capsys.readouterr().err


def test_a_password_is_never_shown() -> None:
    address = "http://admin:secret@127.0.0.1:9/a.mp4"
    with pytest.raises(VideoError) as error:
        VideoFile(address, "gate")
    assert "secret" not in str(error.value)
    assert "http://***@127.0.0.1:9/a.mp4" in str(error.value)
