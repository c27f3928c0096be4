"""The graph of every method computes the same features as the method."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers.exports import shallow_resnets
from tests.methods.test_contract import ONE_PATH, PUBLISHED, small

from vireid.export.graph import NetworkPath, network_graph
from vireid.export.resize import PIXELS
from vireid.features.runtimes import OUTPUT
from vireid.features.torch_backend import TorchBackend
from vireid.optional_packages import package
from vireid.testing.contract import SIZE
from vireid.testing.people import IDENTITIES
from vireid.types import Modality

# TSLFN is DLIS without PALM, and CAJ's network is AGW's: each graph takes seconds. dlis-strong has
# PALM in another place.
OF_OTHERS = {"tslfn", "caj"}


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    with shallow_resnets():
        yield


@pytest.mark.parametrize("name", [*(n for n in PUBLISHED if n not in OF_OTHERS), "dlis-strong"])
def test_a_method_as_a_graph(name: str) -> None:
    torch.manual_seed(0)
    network = replace(small(name), backbone="resnet18", weights="none").build(classes=IDENTITIES)
    with torch.no_grad():
        for parameter in network.parameters():
            # What is zero at first, such as PALM, would hide mistakes.
            parameter.add_(torch.randn_like(parameter) * 0.02)
    backend = TorchBackend(network, device="cpu")
    graphs = {}
    for modality in Modality:
        graph = network_graph(NetworkPath(network, modality), SIZE, name=name)
        graphs[modality] = graph.SerializeToString()
        session = package("onnxruntime").InferenceSession(
            graphs[modality], providers=["CPUExecutionProvider"]
        )
        for n in (1, 3):
            images = torch.randint(0, 256, (n, 3, *SIZE), dtype=torch.uint8)
            [found] = session.run([OUTPUT], {PIXELS: images.float().numpy()})
            expected = backend.extract_features(images, modality).numpy()
            assert not np.allclose(found[0], np.roll(found[0], 1), atol=1e-3)
            np.testing.assert_allclose(found, expected, atol=1e-5)
    # A network with one path for both modalities is one graph.
    assert (graphs[Modality.VISIBLE] == graphs[Modality.INFRARED]) == (name in ONE_PATH)
