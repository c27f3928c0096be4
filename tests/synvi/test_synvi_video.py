"""SynVI video: frames, boxes and identities."""

import csv
from pathlib import Path

import numpy as np
import pytest

from vireid.errors import ConfigError
from vireid.synvi import VideoPreset, render_video
from vireid.synvi.generate import prepare
from vireid.synvi.scene import Person, Seen, Shot, render_frame
from vireid.synvi.video import BOXES, VideoPlan, _Passage
from vireid.synvi.worlds import BANDS

TINY = VideoPreset("tiny", 3, 2.0, fps=1.0, size=(90, 160))


def tree_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synvi") / "video"
    render_video(out, preset=TINY, seed=2, workers=1)
    return out


def test_boxes_surround_people_and_count_what_others_hide() -> None:
    plan = VideoPlan(TINY, 2)
    model, renderer = prepare(plan.people)
    near, far, absent = (
        (
            renderer.person(number, model.body(plan.people.identity(number).phenotype)),
            _Passage(number, 0.0, 1.0, place, (place[0] + 1, place[1])).shot(0.3, 1.0),
        )
        for number, place in ((1, (0.0, 0.0)), (2, (0.2, 1.5)), (1, (0.0, -500.0)))
    )
    thermal = plan.cameras[4]
    assert thermal.band == "thermal"

    def render(*people: tuple[Person, Shot]) -> tuple[np.ndarray, list[Seen]]:
        return render_frame(people, thermal, size=(360, 640), focal=500.0, shadows=4.0)

    empty, [nobody] = render(absent)
    assert nobody.alone == 0
    image, [seen] = render(near)
    rows, columns = np.nonzero(np.abs(image - empty).max(axis=2) > 1e-6)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(seen.box, found, atol=1.5)
    assert seen.samples == seen.alone == pytest.approx(len(rows), abs=0.02 * len(rows))
    _, [before, behind] = render(near, far)
    assert before == seen
    assert 0 < behind.samples < behind.alone
    _, [alone] = render(far)
    assert alone == Seen(behind.box, behind.alone, behind.alone)


def test_the_table_of_boxes(video: Path) -> None:
    with (video / BOXES).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["band"] for row in rows} == set(BANDS)
    for row in rows:
        left, top, right, bottom = (float(row[name]) for name in ("left", "top", "right", "bottom"))
        assert 0 <= left < right <= 160
        assert 0 <= top < bottom <= 90
        assert (video / row["frame"]).is_file()
        assert row["modality"] == ("visible" if row["band"] == "visible" else "infrared")
        assert row["time"].startswith(
            "2026-05-04T12" if row["band"] == "visible" else "2026-05-04T23"
        )


def test_nobody_passes_twice_at_once() -> None:
    plan = VideoPlan(VideoPreset("crowd", 12, 60.0, interval=0.5), 0)
    at_once = [[own.identity for own, _ in plan.present(0, index)] for index in range(300)]
    assert max(map(len, at_once)) > 6
    assert all(len(set(own)) == len(own) for own in at_once)


def test_an_interrupted_tree_ends_with_the_same_bytes(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "video"

    class StoppedError(Exception):
        pass

    from vireid.synvi import video as module

    render, calls = module._render_frame, list[object]()

    def stop(*args: object) -> object:
        if len(calls) == 5:
            raise StoppedError
        calls.append(args)
        return render(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_render_frame", stop)
        with pytest.raises(StoppedError):
            render_video(out, preset=TINY, seed=2, workers=1)
    assert not (out / BOXES).exists()
    # Files that were not flushed are empty after a power cut.
    first, second, *_ = sorted(out.rglob("*.jpg"))
    first.write_bytes(b"")
    (out / module._ROWS / second.relative_to(out)).with_suffix(".csv").write_bytes(b"")
    assert render_video(out, preset=TINY, seed=2, workers=1).rendered == 12 - 5 + 2
    assert tree_of(out) == tree_of(video)
    assert render_video(out, preset=TINY, seed=2, workers=1).rendered == 0
    first.unlink()
    assert render_video(out, preset=TINY, seed=2, workers=1).rendered == 1
    assert tree_of(out) == tree_of(video)


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="layout 'video' has no preset 'pretrain'; expected demo"):
        render_video(tmp_path / "video", preset="pretrain")
