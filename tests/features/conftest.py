"""An untrained network, and images for it of both modalities."""

import pytest
import torch
from tests.helpers.trees import write_regdb

from vireid.data.layouts import RegDB
from vireid.features import FeatureExtractor, TorchBackend
from vireid.methods import DLISConfig
from vireid.types import ImageInfo, ImageRecord


@pytest.fixture(scope="session")
def extractor() -> FeatureExtractor:
    torch.manual_seed(0)
    method = DLISConfig(
        backbone="resnet18", weights="none", size=(64, 32), stripes=2, dim=8, shared_from="layer2"
    )
    network = TorchBackend(method.build(classes=3), device="cpu")
    return FeatureExtractor(network, about={"recipe": "dlis", "é": "夜"})


@pytest.fixture(scope="session")
def regdb(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageRecord, ...]:
    """Twenty-four images, alternating between the modalities."""
    root = write_regdb(tmp_path_factory.mktemp("cam 1 é") / "RegDB")
    layout = RegDB(root, trial=1)
    by_identity = sorted((*layout.train(), *layout.test()), key=lambda r: (r.path.name[-10:], r))
    return tuple(by_identity[:24])


@pytest.fixture(scope="session")
def listed(regdb: tuple[ImageRecord, ...]) -> list[ImageInfo]:
    return [ImageInfo(path=r.path, modality=r.modality, camera=f"camera {r.camera}") for r in regdb]
