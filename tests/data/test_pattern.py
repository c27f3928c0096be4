"""Patterns of paths: what they read, what they refuse, and what is guessed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.data.layouts.pattern import PathPattern, guess_pattern
from vireid.errors import ConfigError, DatasetError


class TestMatch:
    @pytest.mark.parametrize(
        ("pattern", "path", "found"),
        [
            (
                "{modality}/{identity}_{}_{camera}_{}_{}_{}.jpg",
                "ir/0000_000_01_0303morning_0015_0.jpg",
                {"modality": "ir", "identity": "0000", "camera": "01"},
            ),
            ("{}/{identity}/{any}/{any7}/{name}", "a/b/c/d/e.png", {"identity": "b"}),
            ("{identity}/{}", "a/b/c", None),
            ("**/{identity}_{}", "7_a.png", {"identity": "7"}),
            ("**/{identity}_{}", "a/b_x/7_a.png", {"identity": "7"}),
            ("{camera}/**/{identity}/{}", "c/7/a.png", {"camera": "c", "identity": "7"}),
            ("{camera}/**/{identity}/{}", "c/t/s/7/a.png", {"camera": "c", "identity": "7"}),
            ("{identity}/**", "7/a.png", {"identity": "7"}),
            ("{identity}/**", "7/a/b/c.png", {"identity": "7"}),
            ("{identity}/**", "7", None),
            ("{identity}/**/**/x.png", "7/a/x.png", {"identity": "7"}),
            ("{identity}_{time}.png", "7_2024-05-31.png", {"identity": "7", "time": "2024-05-31"}),
            (
                "{identity}_{time:%Y%m%dT%H%M%S}_{}.png",
                "7_20240531T221507_0.png",
                {"identity": "7", "time": "2024-05-31T22:15:07"},
            ),
            (
                "{identity}{time:%d.%m.%y %H:%M:%S.%f%z}{camera}",
                "Ada31.05.24 22:15:07.25+0200gate",
                {"identity": "Ada", "time": "2024-05-31T22:15:07.250000+02:00", "camera": "gate"},
            ),
            ("{time:%Y/%j}/{}.png", "2024/152/7.png", {"time": "2024-05-31T00:00:00"}),
            (
                "{time:%H%M}_{}/{time:%d %B %Y}",
                "2215_7/31 May 2024",
                {"time": "2024-05-31T22:15:00"},
            ),
            (
                "{time:%Y%m%d}{identity}.png",
                "202405311.png",
                {"time": "2024-05-31T00:00:00", "identity": "1"},
            ),
            ("{time:100%%%Y-%m-%d}_{}", "100%2024-05-31_7", {"time": "2024-05-31T00:00:00"}),
            ("{identity}_{time:%Y%m%d}.png", "7_20240231.png", None),
            ("{identity}_{time:%Y%m%d}.png", "7_2024053.png", None),
            ("{identity}.png", "a.PNG", None),
            ("{identity}.png", "a_png", None),
        ],
    )
    def test_what_is_read(self, pattern: str, path: str, found: dict[str, str] | None) -> None:
        assert PathPattern(pattern).match(path) == found

    def test_a_long_name_that_does_not_match(self) -> None:
        """Trying every way of dividing the name among the fields would take hours."""
        pattern = PathPattern("{identity}_{}_{camera}_{}_{}_{}_{}_{}_{}.jpg")
        assert pattern.match("_".join("abcde" * 25) + ".png") is None
        found = pattern.match("_".join("abcde" * 25) + ".jpg")
        assert found == {"identity": "a", "camera": "c"}

    @settings(deadline=None, max_examples=60)
    @given(
        st.permutations(["identity", "modality", "split", "camera", ""]),
        st.lists(st.sampled_from(["/", "_", "+(", "] cam", ".", "\\d", "|"]), min_size=6),
        st.lists(st.text("a0é", min_size=1, max_size=3), min_size=5, max_size=5),
    )
    def test_what_is_put_in_comes_out(
        self, names: list[str], between: list[str], words: list[str]
    ) -> None:
        """A path built by a pattern is read by it, whatever text separates the fields."""
        pattern = path = between[0]
        for name, word, text in zip(names, words, between[1:6], strict=True):
            pattern += f"{{{name}}}{text}"
            path += f"{word}{text}"
        said = dict(zip(names, words, strict=True))
        assert PathPattern(pattern).match(path) == {n: w for n, w in said.items() if n}


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("", "has no field '{identity}'"),
        ("{modality}/{}", "has no field '{identity}'"),
        ("{identity}/{}", "has no field '{modality}'"),
        ("{identity}/{modality}/{identity}", "has the field '{identity}' twice"),
        ("{identity}/{modality}/{person}", "has the unknown field '{person}'"),
        ("{identity}/{modality}/{anything}", "has the unknown field '{anything}'"),
        ("{identity}/{modality}/{camera:02d}", "has the unknown field '{camera:02d}'"),
        ("{identity}/{modality}/{camera", "has an unmatched brace"),
        ("{identity}/{modality}}/x", "has an unmatched brace"),
        ("{{identity}}/{modality}", "has an unmatched brace"),
        ("{identity}{modality}/x", "has two fields with nothing between them"),
        ("{identity}/{modality}/{}{any}", "has two fields with nothing between them"),
        ("{identity}/{modality}/*.jpg", "has a '*' that does not stand for folders"),
        ("{identity}/{modality}/**.jpg", "has a '*' that does not stand for folders"),
        ("{identity}/{modality}**/x", "has a '*' that does not stand for folders"),
        ("{identity}/{modality}/{time}_{time}", "has the field '{time}' twice"),
        ("{identity}/{modality}/{time}_{time:%Y%m%d}", "has the field '{time}' twice"),
        ("{identity}/{modality}/{time:%Y%m%d}_{time}", "has the field '{time}' twice"),
        ("{identity}/{modality}/{time:%H%M%S}", "has a time without year, month and day"),
        ("{identity}/{modality}/{time:YYYY}", "has a time without year, month and day"),
        ("{identity}/{modality}/{time:%s}", "has the unknown directive '%s' in '{time:%s}'"),
        ("{identity}/{modality}/{time:%Y%}", "has the unknown directive '%' in '{time:%Y%}'"),
    ],
)
def test_a_malformed_pattern(pattern: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PathPattern(pattern, required=("identity", "modality"))
    assert str(caught.value).startswith(f"--pattern '{pattern}' {fault}")
    assert "; expected the fields {identity}, {modality}, {split}" in str(caught.value)


class TestGuess:
    @pytest.mark.parametrize(
        ("names", "form", "pattern"),
        [
            (
                ["0002_c1s1_000451_03.jpg", "-1_c1s4_000001_00.jpg", "0000_c6s1_0_1.png"],
                "Market-1501",
                "{}/{identity}_c{camera}s{}_{}_{}",
            ),
            (["0001_c2_f0046182.jpg"], "DukeMTMC-reID", "{}/{identity}_c{camera}_f{}"),
            (
                ["0000_000_01_0303morning_0015_0.jpg", "0001_003_14_0113noon_0200_1_ex.jpg"],
                "MSMT17",
                "{}/{identity}_{}_{camera}_{}_{}_{}",
            ),
            (
                ["1/IR/CQ1/1_IR_CQ1_1_8535.jpg", "2/RGB/LS3/2_RGB_LS3_4_1.jpg"],
                "BUPTCampus",
                "{}/{identity}/{modality}/{camera}/{}",
            ),
            (
                ["0001/ir/D1/001.jpg", "0502/rgb/D12/017.jpg"],
                "HITSZ-VCM",
                "{}/{identity}/{modality}/{camera}/{}",
            ),
        ],
    )
    def test_known_names(self, names: list[str], form: str, pattern: str) -> None:
        guess = guess_pattern([f"x/{name}" for name in names])
        assert (guess.form, guess.pattern) == (form, pattern)
        match = PathPattern(guess.pattern).match(f"x/{names[-1]}")
        assert match is not None
        assert re.fullmatch("[0-9]+|LS3|D12", match["camera"])

    @pytest.mark.parametrize(
        ("folders", "pattern"),
        [
            (["train/rgb", "test/ir"], "{split}/{modality}/"),
            (["RGB/x/a", "ir/y/b"], "{modality}/{}/{}/"),
            (["visible/train", "thermal/query/deep/er"], "{modality}/{split}/**/"),
            (["rgb/ir", "ir/rgb"], "{modality}/{}/"),
        ],
    )
    def test_folders_above(self, folders: list[str], pattern: str) -> None:
        paths = [f"{folder}/0001_c2_f0046182.jpg" for folder in folders]
        guess = guess_pattern(paths, required=("identity", "modality"))
        assert guess.pattern == pattern + "{identity}_c{camera}_f{}"
        found = [PathPattern(guess.pattern).match(path) for path in paths]
        assert [match and match["identity"] for match in found] == ["0001", "0001"]

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            ([], "0 images (none as in a known data set)"),
            (
                ["a.jpg", "b.jpg"],
                "2 images (none as in a known data set), such as 'a.jpg', 'b.jpg'",
            ),
            (["0001_c2_f1.jpg", "0001_c1s1_1_1.jpg"], "(1 Market-1501, 1 DukeMTMC-reID)"),
            (["0001_c2_f1.jpg", "b.jpg"], "2 images (1 DukeMTMC-reID)"),
        ],
    )
    def test_no_majority(self, names: list[str], said: str) -> None:
        with pytest.raises(DatasetError) as caught:
            guess_pattern(names)
        assert "--pattern auto cannot tell the form of the names of " in str(caught.value)
        assert said in str(caught.value)
        assert "MSMT17 (0000_000_01_0303morning_0015_0.jpg)" in str(caught.value)

    def test_no_modality(self) -> None:
        paths = [f"{folder}/0001_c2_f0046182.jpg" for folder in ("rgb", "depth")]
        with pytest.raises(
            DatasetError, match="2 of 2 images are named as in DukeMTMC-reID, which"
        ):
            guess_pattern(paths, required=("identity", "modality"))
