"""What is known of who is together: tracklets, and corrections by a person."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.helpers.trees import save_manifest

from vireid.adaptation.links import known_links
from vireid.data.layouts import Manifest
from vireid.errors import DatasetError
from vireid.types import ImageRecord, Modality

NOON = datetime(2026, 5, 31, 12, tzinfo=UTC)
SEEN = (
    # modality, tracklet, seconds after noon
    *(("visible", "1", second) for second in (0, 4, 8)),
    *(("visible", "2", second) for second in (6, 9)),  # while 1 is there
    *(("visible", "3", second) for second in (20, 30)),
    *(("infrared", "1", second) for second in (0, 5)),
    ("infrared", "", 2),
)


@pytest.fixture
def people(tmp_path: Path) -> tuple[Manifest, list[ImageRecord]]:
    rows = [
        {
            "path": f"{number}.png",
            "identity": number,
            "camera": "yard" if modality == "visible" else "gate",
            "modality": modality,
            "split": "train",
            "time": (NOON + timedelta(seconds=second)).isoformat(),
            "tracklet": tracklet,
        }
        for number, (modality, tracklet, second) in enumerate(SEEN)
    ]
    for row in rows:
        (tmp_path / str(row["path"])).touch()
    layout = Manifest(save_manifest(tmp_path / "people.csv", rows))
    records = layout.train()
    return layout, [r for m in Modality for r in records if r.modality is m]


def names(records: list[ImageRecord], rows: object) -> set[frozenset[str]]:
    return {frozenset(records[row].path.stem for row in group) for group in rows}  # type: ignore[attr-defined]


def test_tracklets_are_together_and_apart_at_one_time(
    people: tuple[Manifest, list[ImageRecord]], capsys: pytest.CaptureFixture[str]
) -> None:
    layout, records = people
    visible, infrared = known_links(layout, records, None)
    day, night = records[:7], records[7:]
    assert names(day, visible.together) == {
        frozenset("012"),
        frozenset("34"),
        frozenset("56"),
    }
    assert names(night, infrared.together) == {frozenset("78")}
    assert {frozenset(SEEN[int(day[r].path.stem)][1] for r in p) for p in visible.apart} == {
        frozenset("12")
    }
    assert not infrared.apart
    assert "1 pair of tracklets of two" in capsys.readouterr().err


def write(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "links.csv"
    file.write_text("\n".join(["first,second,same", *rows]))
    return file


def test_corrections_join_and_part_tracklets(
    people: tuple[Manifest, list[ImageRecord]], tmp_path: Path
) -> None:
    layout, records = people
    file = write(tmp_path, "3.png,5.png,yes", "./7.png,9.png,no")
    visible, infrared = known_links(layout, records, file)
    assert names(records[:7], visible.together) == {frozenset("012"), frozenset("3456")}
    assert names(records[7:], infrared.apart) == {frozenset("79")}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0.png,x.png,yes", "names 'x.png', which is not among the images"),
        ("0.png,1.png,maybe", "has 'maybe' in the column same; expected yes or no"),
        ("0.png,7.png,yes", "links images of two modalities"),
        ("0.png,1.png,no", "known both as one person and as two"),
    ],
)
def test_wrong_corrections_are_refused(
    row: str, said: str, people: tuple[Manifest, list[ImageRecord]], tmp_path: Path
) -> None:
    layout, records = people
    with pytest.raises(DatasetError, match=said):
        known_links(layout, records, write(tmp_path, row))
