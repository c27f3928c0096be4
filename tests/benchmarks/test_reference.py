"""The reference implementation is DLIS: losses, gradients, steps and features."""

from dataclasses import replace

import pytest
import torch
from benchmarks.reference import ReferenceDLIS, reference_optimizer

from vireid.errors import ConfigError
from vireid.methods import DLIS, DLISConfig, Optimisation
from vireid.nn import use_fast_convolutions
from vireid.training.optimization import build_optimizer
from vireid.types import CrossModalBatch, Modality

CONFIG = DLISConfig(
    backbone="resnet18", weights="none", size=(48, 32), stripes=3, dim=8, center_gate=0.01
)


def network() -> DLIS:
    torch.manual_seed(0)
    model = CONFIG.build(classes=5).double()
    for parameter in model.streams.parts["after_layer4"].parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    # The classifiers favour two classes, so that the center-loss gate is open.
    with torch.no_grad():
        model.heads.classifier_bias[..., [0, 3]] = 3.0
    return use_fast_convolutions(model).to(memory_format=torch.channels_last).train()


def batch(seed: int) -> CrossModalBatch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 6, 3, *CONFIG.size, generator=random, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 3, 3, 3])
    return CrossModalBatch(images[0], images[1], labels, labels)


def assert_same_features(model: DLIS, reference: ReferenceDLIS, *, tolerance: float) -> None:
    model.eval()
    reference.eval()
    with torch.no_grad():
        for modality in Modality:
            own, right = (
                m.extract_features(batch(9).visible, modality) for m in (model, reference)
            )
            torch.testing.assert_close(own, right, rtol=0, atol=tolerance, check_dtype=False)
    model.train()
    reference.train()


def test_losses_steps_and_features_are_those_of_dlis() -> None:
    model = network()
    reference = ReferenceDLIS(model)
    options = Optimisation(lr=2e-3, backbone_lr=1e-3)
    steppers = (
        build_optimizer(model, options),
        reference_optimizer(
            reference, lr=options.lr, backbone_lr=options.backbone_lr, decay=options.weight_decay
        ),
    )
    assert_same_features(model, reference, tolerance=1e-6)
    for step in range(3):
        given = batch(step)
        own, right = model.losses(given).terms, reference.losses(*given[:4])
        assert own.keys() == right.keys()
        for name, term in own.items():
            assert float(term.detach()) > 0
            # DLIS forms its losses in float32 whatever its network computes in.
            torch.testing.assert_close(term, right[name], rtol=1e-5, atol=1e-6, check_dtype=False)
        for stepper, terms in zip(steppers, (own, right), strict=True):
            stepper.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            stepper.step()
    assert_same_features(model, reference, tolerance=1e-4)


def test_float32_agrees_too() -> None:
    model = network().float()
    reference = ReferenceDLIS(model)
    given = batch(0)
    given = given._replace(visible=given.visible.float(), infrared=given.infrared.float())
    own, right = model.losses(given).terms, reference.losses(*given[:4])
    for name, term in own.items():
        torch.testing.assert_close(term, right[name], rtol=1e-4, atol=1e-5)


def test_other_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="paper-like form only"):
        ReferenceDLIS(replace(CONFIG, shared_from="layer1").build(classes=3))
