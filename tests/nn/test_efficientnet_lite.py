"""EfficientNet-Lite0 and -Lite2 as published."""

import pytest
import torch
from torch.nn import functional as F

from vireid.errors import WeightsError
from vireid.nn import build_stages
from vireid.nn.backbone import BackboneName
from vireid.nn.efficientnet_lite import EfficientNetLite, SameConv2d, packaged_weights

NAMES: dict[int, BackboneName] = {0: "efficientnet_lite0", 2: "efficientnet_lite2"}
CROSSWORD_PUZZLE = 918
"""Its class in ImageNet."""


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (10, 5)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_tensorflows(size: tuple[int, int], kernel: int, stride: int) -> None:
    conv = SameConv2d(2, 3, kernel, stride, bias=False)
    x = torch.randn(1, 2, *size)
    # By definition output (i, j) is the window that begins at i * stride - floor(total / 2).
    y = conv(x)
    assert y.shape[2:] == tuple(-(-length // stride) for length in size)
    wide = F.pad(x, (9, 9, 9, 9))
    begins = []
    for length in size:
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        begins.append(9 - total // 2)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            top, left = begins[0] + i * stride, begins[1] + j * stride
            window = wide[0, :, top : top + kernel, left : left + kernel]
            expected = (conv.weight * window).sum((1, 2, 3))
            assert torch.allclose(y[0, :, i, j], expected, atol=1e-5)


@pytest.mark.parametrize("variant", [0, 2])
def test_the_packaged_weights_fit_and_are_pretrained(variant: int) -> None:
    state = packaged_weights(variant)
    own = EfficientNetLite(variant).state_dict()
    assert {k for k in state if not k.startswith("fc.")} == set(own)
    stages, channels = build_stages(NAMES[variant], "imagenet")
    assert channels == 1280
    # A trained batch norm has left its start; a random one has not.
    assert stages["layer4"][-2].running_var.std() > 0  # type: ignore[index]
    assert torch.equal(stages["stem"][0].weight, state["conv_stem.weight"])  # type: ignore[index]


@pytest.mark.parametrize("variant", [0, 2])
def test_the_whole_network_sees_a_crossword_in_a_chequerboard(variant: int) -> None:
    """The whole published network names what it sees: proof of blocks, padding and weights."""
    network, state = EfficientNetLite(variant), packaged_weights(variant)
    network.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    x = torch.zeros(1, 3, 224, 224)
    rows, columns = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    x[:, :] = ((rows // 28) + (columns // 28)) % 2 * 2.0 - 1.0  # a chequerboard
    with torch.inference_mode():
        for stage in network.eval().cut():
            x = stage(x)
        logits = x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    assert logits.argmax().item() == CROSSWORD_PUZZLE


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("vireid.nn.efficientnet_lite.resources.files", missing)
    with pytest.raises(WeightsError, match=r"vireid\[pretrained\]"):
        packaged_weights(2)


def test_depthwise_convolutions_train_in_float32_under_autocast() -> None:
    convolution = SameConv2d(4, 4, 3, 2, groups=4, bias=False)
    x = torch.randn(2, 4, 9, 6)
    plain = convolution(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(convolution(x), plain)
        assert torch.equal(convolution(x.bfloat16()), convolution(x.bfloat16().float()))
        with torch.inference_mode():
            assert convolution(x).dtype == torch.bfloat16
        assert SameConv2d(4, 4, 3)(x).dtype == torch.bfloat16
