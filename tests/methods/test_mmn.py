"""MMN as its module describes it."""

import dataclasses
import math
from itertools import product

import pytest
import torch
from tests.helpers.batches import random_batch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.losses import batch_hard_triplet_loss, distribution_consistency_loss
from vireid.methods import mmn
from vireid.methods.mmn import MMN, MMNConfig
from vireid.nn.middle_modality import MiddleModality
from vireid.types import Modality

SMALL = MMNConfig(backbone="resnet18", weights="none", size=(64, 32))
LABELS = torch.tensor([0, 0, 3, 3])


def test_the_published_shapes_and_number_of_parameters() -> None:
    config = dataclasses.replace(mmn.recipe().method, weights="none")
    with torch.device("meta"):
        model = MMN(config, classes=395).eval()
        pooled, _ = model(torch.empty(2, 3, 384, 192), 1)
        features = model.extract_features(torch.empty(2, 3, 384, 192), Modality.VISIBLE)
    assert pooled.shape == (2, 2, 4, 2048)
    assert features.shape == (2, 4 * 2048)
    # ResNet-50 without its classifier, a second stem, four batch norms without bias, four
    # classifiers without bias; generators: two encoders (3 + 1, 1 + 1, 2) and a decoder (3 + 3).
    stem = 3 * 64 * 49 + 2 * 64
    heads = 4 * 2048 + 4 * 2048 * 395
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == 23_508_032 + stem + heads + 2 * 8 + 6
    assert trainable == 26_761_622


def parameters(layer: nn.Module) -> list[list[float]]:
    """The weights and the biases of a layer."""
    return [p.flatten().tolist() for p in layer.parameters()]


def middle_by_hand(generator: MiddleModality, image: Tensor, modality: str) -> list[list[float]]:
    """One image, pixel by pixel, before the batch norm of the encoder."""
    encoder = getattr(generator.encoder, modality)
    weights, [bias] = parameters(encoder[0])
    [[scale], [shift]] = parameters(encoder[2])
    rows = []
    for pixel in image.flatten(1).T.tolist():
        grey = max(0.0, sum(w * x for w, x in zip(weights, pixel, strict=True)) + bias)
        rows.append([max(0.0, scale * grey + shift)])
    return rows


def test_the_generators_equal_loops() -> None:
    generator = MiddleModality().double().requires_grad_(False)
    for parameter in generator.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.3)
    images = torch.randn(5, 3, 4, 2, dtype=torch.float64)
    weights, biases = generator.decoder.weight.flatten().tolist(), parameters(generator.decoder)[1]
    expected = torch.empty_like(images)
    for name, own in (("visible", range(2)), ("infrared", range(2, 5))):
        norm = getattr(generator.encoder, name)[4]
        grey = [middle_by_hand(generator, images[i], name) for i in own]
        values = [v for one in grey for [v] in one]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        for i, one in zip(own, grey, strict=True):
            for position, [v] in enumerate(one):
                unit = (v - mean) / math.sqrt(variance + norm.eps)
                unit = unit * float(norm.weight) + float(norm.bias)
                for channel in range(3):
                    out = weights[channel] * unit + biases[channel]
                    expected[i, channel, position // 2, position % 2] = max(0.0, out)
    torch.testing.assert_close(generator(images, 2), expected, rtol=1e-9, atol=1e-12)


def test_at_first_the_generators_make_images_grey() -> None:
    generator = MiddleModality()
    images = torch.rand(4, 3, 6, 3)
    middle = generator(images, 2)
    assert torch.equal(middle[:, 0], middle[:, 1])
    assert torch.equal(middle[:, 0], middle[:, 2])
    assert sum(p.numel() for p in generator.parameters()) == 22


def test_rows_are_in_the_order_of_the_images() -> None:
    model = MMN(SMALL, classes=5).eval()
    images = torch.randn(5, 3, 64, 32)
    pooled, _ = model(images, 2)
    assert model.middle is not None
    middle = model.middle(images, 2)
    for view, given in enumerate((images, middle)):
        torch.testing.assert_close(pooled[:, view], model.pool(model.streams(given, 2)))


def test_its_losses_are_those_of_the_code() -> None:
    model = MMN(SMALL, classes=5)
    given = random_batch()
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    pooled, necked = model(torch.cat([given.visible, given.infrared]), 4)
    labels = torch.cat([LABELS, LABELS])
    identity, triplet, consistency = [], [], []
    for p in range(4):
        for view in range(2):
            identity.append(F.cross_entropy(necked[:, view, p] @ model.classifier[p], labels))
        for a, b in product(range(2), range(2)):
            rows = torch.cat([pooled[:4, a, p], pooled[4:, b, p]])
            triplet.append(batch_hard_triplet_loss(rows, labels, margin=0.3))
        projected = model.project(pooled[:, 1, p])
        consistency.append(
            distribution_consistency_loss(projected[:4], projected[4:], LABELS, LABELS)
        )
    assert set(found.terms) == {"identity", "triplet", "consistency"}
    torch.testing.assert_close(found.terms["identity"], torch.stack(identity).mean())
    torch.testing.assert_close(found.terms["triplet"], torch.stack(triplet).mean())
    torch.testing.assert_close(found.terms["consistency"], 0.2 * torch.stack(consistency).mean())
    found.total.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    backbone = {id(p) for p in model.backbone_parameters()}
    assert {id(p) for p in model.middle.parameters()} <= backbone  # type: ignore[union-attr]


def test_the_consistency_loss_changes_the_generators() -> None:
    model = MMN(SMALL, classes=5)
    given = random_batch()
    pooled, _ = model(torch.cat([given.visible, given.infrared]), 4)
    projected = model.project(pooled[:, 1, 0])
    distribution_consistency_loss(projected[:4], projected[4:], LABELS, LABELS).backward()
    assert model.middle is not None
    gradients = [p.grad for p in model.middle.parameters()]
    assert all(g is not None for g in gradients)
    assert any(bool(g.any()) for g in gradients if g is not None)


def test_the_projection_is_saved_and_not_trained() -> None:
    model = MMN(SMALL, classes=5)
    assert {"projection_1", "projection_2"} <= model.state_dict().keys()
    assert not {"projection_1", "projection_2"} & dict(model.named_parameters()).keys()


def test_its_ablations() -> None:
    given = random_batch()
    for change, left in (
        ({"middle": False}, {"identity", "triplet"}),
        ({"consistency": 0.0}, {"identity", "triplet"}),
        ({"triplet": 0.0}, {"identity", "consistency"}),
    ):
        model = MMN(dataclasses.replace(SMALL, **change), classes=5)
        assert set(model.losses(given).terms) == left
    own = MMN(dataclasses.replace(SMALL, feature="image"), classes=5).eval()
    both = MMN(SMALL, classes=5).eval()
    both.load_state_dict(own.state_dict())
    images = given.visible
    _, necked = both(images, 4)
    units = F.normalize(necked.flatten(2), dim=2)
    torch.testing.assert_close(own.extract_features(images, Modality.VISIBLE), units[:, 0])
    # The product of two features is the sum of the four similarities, up to one factor an image.
    features = both.extract_features(images, Modality.VISIBLE)
    torch.testing.assert_close(features, F.normalize(units[:, 0] + units[:, 1]))


def test_unit_features_in_the_triplet_loss_do_not_depend_on_their_scale() -> None:
    model = MMN(dataclasses.replace(SMALL, unit=True), classes=5)
    given = random_batch()
    pooled, _ = model(torch.cat([given.visible, given.infrared]), 4)
    pooled = F.normalize(pooled, dim=3)
    triplets = [
        batch_hard_triplet_loss(
            torch.cat([pooled[:4, a, p], pooled[4:, b, p]]), torch.cat([LABELS, LABELS]), margin=0.3
        )
        for a, b, p in product(range(2), range(2), range(4))
    ]
    found = model.losses(given).terms["triplet"]
    torch.testing.assert_close(found, torch.stack(triplets).mean())
    assert mmn.recipe().method.on_cpu().unit


def test_two_views_of_a_visible_image_are_twice_as_many_pairs() -> None:
    """`--joint` adds second views of visible images to a batch."""
    once = random_batch()
    given = once._replace(visible=once.visible.repeat(2, 1, 1, 1), visible_labels=LABELS.repeat(2))
    losses = MMN(SMALL, classes=5).losses(given)
    assert losses.total.isfinite()
    assert losses.features is not None
    assert len(losses.features) == 12


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="'5' stripes do not fit a map of 4 rows"):
        dataclasses.replace(SMALL, stripes=5)
    with pytest.raises(ConfigError, match="--consistency"):
        dataclasses.replace(SMALL, consistency=-1.0)
