"""The rows of `models/ablation.py`: what they leave out, and nothing else."""

from pathlib import Path

import pytest
from models import ablation

from vireid.synvi.cameras import Camera
from vireid.synvi.presets import Identity, Plan


def planned(row: str) -> tuple[tuple[Camera, ...], list[Identity]]:
    """The cameras of all worlds and two people, as planned for the row."""
    with ablation._variant(row):
        plan = Plan("worlds", ablation.WORLDS, 0)
        return plan.cameras, [plan.identity(number) for number in (1, 30)]


@pytest.mark.parametrize("row", ["clothing", "cameras"])
def test_a_row_changes_one_part(row: str) -> None:
    """`clothing` changes the outfits and keeps the cameras; `cameras` the other way round."""
    (cameras, people), (our_cameras, our_people) = planned(row), planned("worlds")
    assert (cameras == our_cameras) == (row != "cameras")
    for one, other in zip(people, our_people, strict=True):
        assert one.phenotype == other.phenotype
        assert (one.outfit == other.outfit) == (row != "clothing")


def test_the_cameras_of_all_worlds_are_the_same() -> None:
    """Without its cameras every world has those of the first, under numbers of its own."""
    for row in ("worlds", "cameras"):
        eyes = [camera.eye for camera in planned(row)[0]]
        assert (eyes == eyes[:6] * (len(eyes) // 6)) == (row == "cameras")


def test_a_selection_has_one_split_and_the_bands(tmp_path: Path) -> None:
    """The images of the other bands and splits are left out; validation goes with training."""
    (tmp_path / "manifest.csv").write_text(
        "path,identity,camera,modality,split,band\n"
        "a,1,1,visible,train,visible\n"
        "b,1,5,infrared,train,thermal\n"
        "c,1,3,infrared,train,near-infrared\n"
        "d,2,3,infrared,val,near-infrared\n"
        "e,3,1,visible,test,visible\n"
    )

    def paths(bands: tuple[str, ...], split: str) -> list[str]:
        lines = ablation._select(tmp_path, bands, split).read_text().splitlines()
        return [line[0] for line in lines[1:]]

    assert paths(("visible", "near-infrared"), "train") == ["a", "c", "d"]
    assert paths(("visible", "thermal"), "test") == ["e"]
