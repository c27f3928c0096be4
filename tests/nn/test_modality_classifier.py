"""The modality discriminator as its docstring says."""

import torch

from vireid.nn import ModalityClassifier


def test_it_has_the_published_widths() -> None:
    model = ModalityClassifier(2048)
    shapes = [tuple(p.shape) for p in model.parameters()]
    assert shapes == [(1000, 2048), (1000,), (500, 1000), (500,), (2, 500), (2,)]


def test_it_is_three_linear_layers_with_relu_between() -> None:
    torch.manual_seed(0)
    model = ModalityClassifier(5, hidden=(4, 3)).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    w1, b1, w2, b2, w3, b3 = model.parameters()
    hidden = (x @ w1.T + b1).clamp(min=0)
    hidden = (hidden @ w2.T + b2).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ w3.T + b3)
