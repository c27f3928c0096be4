"""Same seed, same bytes: whatever the workers, whatever was killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vireid.errors import ConfigError, DatasetError
from vireid.synvi import Preset, render

DEADLINE = 120.0  # seconds after which a condition counts as never met

SCRIPT = """
import signal
import sys
from pathlib import Path
from vireid.synvi import render
from vireid.synvi.presets import Preset
if __name__ == "__main__":
    # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    preset = Preset("tiny", train=2, val=1, test=2, images=(1, 1, 2, 1, 1, 2), scale=0.45)
    render(Path(sys.argv[1]), preset=preset, seed=11, workers=int(sys.argv[2]))
"""


def _bytes(tree: Path) -> dict[str, bytes]:
    return {p.relative_to(tree).as_posix(): p.read_bytes() for p in tree.rglob("*") if p.is_file()}


def _until(condition: Callable[[], bool], what: str) -> None:
    """Poll for a condition."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"never happened: {what}")
        os.sched_yield()


def _images(tree: Path) -> int:
    return len(list(tree.glob("cam*/*/[0-9]*.jpg")))


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def _alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_two_workers_give_the_same_bytes(
    sysu_tree: Path, tiny: Preset, seed: int, tmp_path: Path
) -> None:
    summary = render(tmp_path / "again", preset=tiny, seed=seed, workers=2)
    assert summary.rendered == summary.images == _images(sysu_tree)
    assert _bytes(tmp_path / "again") == _bytes(sysu_tree)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at /proc")
def test_killed_run_goes_on_to_the_same_bytes(
    sysu_tree: Path, tiny: Preset, seed: int, tmp_path: Path
) -> None:
    script, tree = tmp_path / "script.py", tmp_path / "killed"
    script.write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script), str(tree), "2"], stderr=subprocess.DEVNULL
    ) as process:
        _until(lambda: process.poll() is not None or _images(tree) >= 4, "four images")
        assert process.poll() is None, "finished before it could be killed: render more"
        workers = _children(process.pid)
        process.send_signal(signal.SIGKILL)
    assert workers
    _until(lambda: not any(_alive(pid) for pid in workers), "the workers leave with their parent")
    done = _images(tree)
    total = _images(sysu_tree)
    assert 4 <= done < total
    assert not (tree / "synvi.json").exists()
    whole = _bytes(sysu_tree)
    for name, content in _bytes(tree).items():
        if name.endswith(".jpg") and "/." not in name:
            assert content == whole[name]
    # What a kill in the middle of a write leaves behind.
    torn = next(tree.glob("cam*/*")) / ".0009.jpg.4242-0.tmp"
    torn.write_bytes(b"half")

    summary = render(tree, preset=tiny, seed=seed, workers=1)

    assert summary.rendered == total - done
    assert _bytes(tree) == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_reported_and_leaves_at_once(tmp_path: Path, workers: int) -> None:
    script, tree = tmp_path / "script.py", tmp_path / "stopped"
    script.write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script), str(tree), str(workers)], stderr=subprocess.PIPE, text=True
    ) as process:
        _until(lambda: process.poll() is not None or _images(tree) >= 2, "two images")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode != 0
    assert re.search(r"\d+ of \d+ images are rendered; the same command continues", said)
    assert "CUDA" not in said
    assert not (tree / "synvi.json").exists()


def test_finished_tree_renders_nothing(sysu_tree: Path, tiny: Preset, seed: int) -> None:
    before = {p: p.stat().st_mtime_ns for p in sysu_tree.rglob("*")}
    summary = render(sysu_tree, preset=tiny, seed=seed)
    assert summary.rendered == 0
    assert summary.images == _images(sysu_tree)
    assert before == {p: p.stat().st_mtime_ns for p in sysu_tree.rglob("*") if p != sysu_tree} | {
        p: t for p, t in before.items() if p == sysu_tree
    }


def test_a_lost_image_is_rendered_again(
    sysu_tree: Path, tiny: Preset, seed: int, tmp_path: Path
) -> None:
    tree = tmp_path / "copy"
    for name, content in _bytes(sysu_tree).items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "cam6/0002/0001.jpg").unlink()
    # Images are not flushed, and may be empty or short after a power cut.
    empty, short, *_ = sorted(tree.glob("cam*/*/[0-9]*.jpg"))
    os.truncate(empty, 0)
    os.truncate(short, 512)
    assert render(tree, preset=tiny, seed=seed, workers=1).rendered == 3
    assert _bytes(tree) == _bytes(sysu_tree)


def test_another_plan_is_refused(sysu_tree: Path, tiny: Preset, seed: int) -> None:
    before = _bytes(sysu_tree)
    with pytest.raises(DatasetError, match=f"seed {seed} there, {seed + 1} requested"):
        render(sysu_tree, preset=tiny, seed=seed + 1)
    with pytest.raises(DatasetError, match="preset 'tiny'"):
        render(sysu_tree, preset="demo", seed=seed)
    with pytest.raises(DatasetError, match="layout 'sysu-mm01' there, 'regdb' requested"):
        render(sysu_tree, layout="regdb", preset="demo", seed=seed)
    assert _bytes(sysu_tree) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(DatasetError, match="not a SynVI tree"):
        render(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "llcm"}, "'llcm' is not known; expected one of sysu-mm01, regdb"),
        ({"preset": "huge"}, "has no preset 'huge'; expected demo, standard"),
        ({"seed": -3}, "seed -3 is negative"),
        ({"workers": 0}, "workers=0; expected at least 1"),
        ({"preset": Preset("p", 2, 0, 2, (1, 1))}, "6 cameras: give 6 counts"),
        ({"preset": Preset("p", 0, 0, 2, (1,) * 6)}, "train=0"),
        ({"preset": Preset("p", 2, 0, 2, (1,) * 6)}, "val=0"),
        ({"layout": "regdb", "preset": Preset("p", 2, 0, 1, (1, 1))}, "even"),
    ],
)
def test_bad_options_are_explained(options: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        render(tmp_path / "out", **options)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_anny_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(ConfigError, match=r"pip install 'vireid\[synvi\]'"):
        render(tmp_path / "out", workers=1)


def test_a_dead_worker_is_reported(
    tiny: Preset, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vireid.synvi.generate.render_task", _die)
    with pytest.raises(DatasetError, match=r"worker died .* run the same command again"):
        render(tmp_path / "out", preset=tiny, seed=seed, workers=2)
    assert not (tmp_path / "out" / "synvi.json").exists()


def _die(*_: object) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0
