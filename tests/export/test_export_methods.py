"""Every network can be exported, and is the same then."""

import numpy as np
import pytest
import torch
from tests.methods.test_contract import CLASSES, ONE_PATH, PUBLISHED, SIZE, small

from vireid.export.graph import NetworkPath, network_graph
from vireid.export.resize import PIXELS
from vireid.features.optional_packages import package
from vireid.features.runtimes import OUTPUT
from vireid.features.torch_backend import TorchBackend
from vireid.types import Modality

# TSLFN is DLIS without PALM, and CAJ's network is AGW's: each graph takes seconds. The strong form
# of DLIS has another PALM.
OF_OTHERS = {"tslfn", "caj"}


@pytest.mark.parametrize("name", [*(n for n in PUBLISHED if n not in OF_OTHERS), "dlis-strong"])
def test_a_method_as_a_graph(name: str) -> None:
    torch.manual_seed(0)
    network = small(name).build(classes=CLASSES)
    with torch.no_grad():
        for parameter in network.parameters():
            # What starts at nought, such as PALM, would hide mistakes.
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
