"""A network that translates, from the shell to its pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.helpers.trees import write_sysu

from vireid.cli import main
from vireid.data.images import read_resized
from vireid.data.layouts import DataSource
from vireid.features import FeatureExtractor, TorchBackend, load
from vireid.methods.agw import AGWConfig
from vireid.types import Modality


def test_evaluate_draws_what_the_network_translates(tmp_path: Path) -> None:
    root, out = write_sysu(tmp_path / "SYSU", images=2), tmp_path / "run"
    words = ["train", "d2rl", "--layout", "sysu-mm01", "--root", root, "--out", out]
    small = ["--backbone", "resnet18", "--weights", "none", "--size", "64", "32", "--width", "4"]
    few = ["--epochs", "2", "--identities", "2", "--images", "2", "--device", "cpu"]
    assert main([str(word) for word in (*words, *small, *few)]) == 0
    assert main(["evaluate", str(out)]) == 0
    with Image.open(out / "results" / "translations.png") as image:
        image.load()
    assert "Translations" in (out / "results" / "report.html").read_text(encoding="utf-8")

    extractor = load(out)
    images = DataSource(layout="sysu-mm01", root=root).open().test()
    records = [next(r for r in images if r.modality is modality) for modality in Modality]
    found = extractor.translate(records)
    assert [translation.record for translation in found] == records
    for translation in found:
        pixels = read_resized(translation.record.path, (64, 32))
        assert np.array_equal(translation.original, pixels)
        assert translation.translated.shape == translation.back.shape == (64, 32, 3)
        assert translation.translated.dtype == translation.back.dtype == np.uint8
    to_infrared, to_visible = found
    assert (to_infrared.translated == to_infrared.translated[..., :1]).all()
    assert (to_visible.back == to_visible.back[..., :1]).all()
    # A network that does not translate has nothing to show.
    torch.manual_seed(0)
    agw = AGWConfig(backbone="resnet18", weights="none", size=(64, 32)).build(classes=3)
    assert FeatureExtractor(TorchBackend(agw, device="cpu")).translate(records) == []
