"""Options that cannot have an effect in a combination are refused, not ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.app.people import photograph

from vireid.cli import main

ADD = "gallery add g a.png"
SEARCH = "gallery search g a.png"
SAVE = "gallery save-search g name"
CROPS = "'a.png' holds crops of one person each; add --scenes if they are scenes"
STREAM = "rtsp://user:word@host/cam --camera gate"
LIVE = "is for files, and 'rtsp://***@host/cam' is read live; expected a file with it"

REFUSED = {
    f"{ADD} --start 2026-05-04": CROPS,
    f"{ADD} --fps 2": CROPS,
    f"{ADD} --detector other": CROPS,
    f"{ADD} --for 10m": CROPS,
    f"{ADD} --people crops": CROPS,
    f"gallery add g {STREAM} --start 2026-05-04": f"--start '2026-05-04' {LIVE}",
    f"gallery add g {STREAM} --pattern {{}}": f"--pattern '{{}}' {LIVE}",
    f"detect {STREAM} --out o --start 2026-05-04": f"--start '2026-05-04' {LIVE}",
    "detect a.png --camera gate --out o --for 10m": "--for '10m' ends the reading of streams, and",
    f"watch {STREAM} --gallery g --scenes": "--scenes is for files, and only streams are watched",
    f"watch {STREAM} --gallery g --pattern {{}}": "--pattern is for files, and only streams are",
    "watch . --gallery g --secret-file s": "--secret-file 's' signs what --webhook gets",
    "serve g --create --read-only": "to which nothing can be added with --read-only",
    f"{SEARCH} --modality visible --both-modalities": "--modality visible leaves out the modality",
    f"{SEARCH} --each --json": "--each is for the table",
    f"{SEARCH} --audit log": "--audit is for reports and cases; expected --report or --case",
    f"{SEARCH} --case c --audit-images": "--audit-images is for reports; expected --report",
    "gallery search g --query-tracklet 1 --query-modality visible": "--query-modality visible is",
    f"{SAVE} --query-tracklet 1 --query-modality visible": "--query-modality visible is for images",
    f"{SAVE} --delete --threshold 0.5": "--delete takes the name 'name' alone",
    f"{SAVE} a.png --delete": "--delete takes the name 'name' alone",
    "gallery edit g --id 1 --set-note x --pattern {}": "--pattern '{}' is read from the names of",
    "gallery case edit g case": "expected --name, --shared or both",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(photograph(1))
    assert main(words.split()) == 2
    assert REFUSED[words] in capsys.readouterr().err
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    "verb", ["case note g c text", "case list g", "case report g c --out o.csv"]
)
def test_no_query_images_are_recorded_of_cases(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["gallery", *verb.split(), "--audit-images"])
    assert "--audit-images" in capsys.readouterr().err
