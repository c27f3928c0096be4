"""cmGAN as its module describes it."""

import dataclasses
import math

import pytest
import torch
from tests.helpers.batches import random_batch
from torch import Tensor
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.methods import cmgan
from vireid.methods.cmgan import CmGAN, CmGANConfig
from vireid.types import CrossModalBatch, Modality

SMALL = CmGANConfig(backbone="resnet18", weights="none", size=(64, 32), discriminator_steps=3)


def batch(n_visible: int = 4) -> CrossModalBatch:
    """A batch whose infrared images are of other pixels than the visible ones."""
    given = random_batch(visible=((0, 0, 3, 3) * 2)[:n_visible])
    return given._replace(infrared=0.5 * given.infrared + 0.5)


def judged_by_hand(logits: Tensor, n_visible: int) -> tuple[float, float]:
    """Cross-entropy and share of right guesses, image by image, then modality by modality."""
    losses: list[list[float]] = [[], []]
    right: list[list[float]] = [[], []]
    for i, row in enumerate(logits.tolist()):
        truth = int(i >= n_visible)
        losses[truth].append(math.log(sum(map(math.exp, row))) - row[truth])
        right[truth].append(float(row[truth] > row[1 - truth]))
    mean_loss, mean_right = ([sum(x) / len(x) for x in pair] for pair in (losses, right))
    return sum(mean_loss) / 2, sum(mean_right) / 2


def test_the_published_shapes() -> None:
    config = dataclasses.replace(cmgan.recipe().method, weights="none")
    with torch.device("meta"):
        model = CmGAN(config, classes=395).eval()
        features = model.extract_features(torch.empty(2, 3, 288, 144), Modality.VISIBLE)
    assert features.shape == (2, 2048)
    assert sum(p.numel() for p in model.parameters()) == 26_867_889
    assert sum(p.numel() for p in model.discriminator.parameters()) == 2_550_502
    assert model.classifier.weight.shape == (395, 2048)


def test_one_network_sees_both_modalities_by_default() -> None:
    for stage, together in (("stem", True), ("layer2", False), (None, False)):
        config = dataclasses.replace(SMALL, shared_from=stage)  # type: ignore[arg-type]
        model = config.build(classes=5)
        assert isinstance(model, CmGAN)
        shared = [part.separate for part in model.streams.parts.values()]
        assert any(shared) is not together
        assert all(shared) is (stage is None)


def test_the_generators_losses_are_the_three_of_the_paper() -> None:
    model = SMALL.build(classes=5)
    given = batch()
    found = model.losses(given)
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    features = model(torch.cat([given.visible, given.infrared]), 4)
    labels = torch.cat([given.visible_labels, given.infrared_labels])
    across = torch.cdist(F.normalize(features[:4]), F.normalize(features[4:])).detach()
    triplet = 0.0
    for distance in (across, across.T):
        for a in range(4):
            same = [labels[b] == labels[a] for b in range(4)]
            furthest = max(float(distance[a, b]) for b in range(4) if same[b])
            nearest = min(float(distance[a, b]) for b in range(4) if not same[b])
            triplet += max(0.0, 1.4 + furthest - nearest) / 4
    loss, _ = judged_by_hand(model.discriminator(features), 4)
    logits = model.classifier(features)
    assert found.terms["triplet"].item() == pytest.approx(triplet, abs=1e-4)
    torch.testing.assert_close(found.terms["identity"], F.cross_entropy(logits, labels))
    assert found.terms["confusion"].item() == pytest.approx(-0.05 * loss, abs=1e-6)
    found.total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("n_visible", [4, 8])
def test_even_confusion_is_cross_entropy_against_half_and_half(n_visible: int) -> None:
    model = dataclasses.replace(SMALL, confusion="even", gamma=2.0).build(classes=5)
    given = batch(n_visible)
    found = model.losses(given).terms["confusion"]
    logits = model.discriminator(model(torch.cat([given.visible, given.infrared]), n_visible))
    # Half as true, half as if each image were of the other modality.
    as_is = judged_by_hand(logits, n_visible)[0]
    turned = judged_by_hand(logits.flip(1), n_visible)[0]
    assert found.item() == pytest.approx(2.0 * (as_is + turned) / 2, abs=1e-5)
    # It is least, ln 2, where the discriminator is undecided.
    for parameter in model.discriminator.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)
    undecided = model.losses(given).terms["confusion"]
    assert undecided.item() == pytest.approx(2.0 * math.log(2), abs=1e-6)
    assert found.item() > undecided.item()


def test_features_are_centred_over_both_modalities_together() -> None:
    model = SMALL.build(classes=5)
    given = batch()
    features = model(torch.cat([given.visible, given.infrared]), 4)
    torch.testing.assert_close(features.mean(0), torch.zeros(512), atol=1e-5, rtol=0)
    # Both modalities share these statistics; by themselves they differ.
    assert features[:4].mean(0).abs().max() > 0.1


def test_weights_are_weights() -> None:
    config = dataclasses.replace(SMALL, alpha=3.0, beta=0.5, gamma=2.0, margin=0.7)
    torch.manual_seed(0)
    plain = dataclasses.replace(SMALL, margin=0.7, gamma=1.0).build(classes=5)
    torch.manual_seed(0)
    weighted = config.build(classes=5)
    before, after = plain.losses(batch()).terms, weighted.losses(batch()).terms
    for name, factor in (("triplet", 3.0), ("identity", 0.5), ("confusion", 2.0)):
        torch.testing.assert_close(after[name], factor * before[name])


@pytest.mark.parametrize("n_visible", [4, 8])
def test_the_discriminator_weighs_modalities_alike(n_visible: int) -> None:
    model = SMALL.build(classes=5)
    given = batch(n_visible)
    found = model.step_losses(given, "discriminator")
    logits = model.discriminator(model(torch.cat([given.visible, given.infrared]), n_visible))
    loss, right = judged_by_hand(logits, n_visible)
    assert list(found.terms) == ["modality"]
    assert found.total.item() == pytest.approx(loss, abs=1e-6)
    assert found.metrics["modality_accuracy"].item() == pytest.approx(right)
    assert found.identity is found.accuracy is found.features is None


def test_a_discriminator_that_leans_nowhere_is_right_half_the_time() -> None:
    model = SMALL.build(classes=5)
    for parameter in model.discriminator.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)
    found = model.step_losses(batch(), "discriminator")
    assert found.metrics["modality_accuracy"].item() == 0.5
    assert found.total.item() == pytest.approx(math.log(2))


def test_a_discriminators_turn_leaves_the_generator_alone() -> None:
    model = SMALL.build(classes=5)
    model.step_losses(batch(), "discriminator").total.backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert touched == {"discriminator"}


def test_features_are_reckoned_once_for_all_moves_of_the_discriminator() -> None:
    model = SMALL.build(classes=5)
    given, other = batch(), batch()
    passes: list[int] = []
    model.streams.register_forward_hook(lambda *_: passes.append(1))
    (stage,) = model.phases(7)
    assert stage.epochs == 7
    assert [turn.name for turn in stage.steps] == ["discriminator"] * 3 + ["generator"]
    told = []
    for turn in stage.steps:
        told.append("modality_accuracy" in model.step_losses(given, turn.name).metrics)
    assert told == [True, False, False, False]
    assert len(passes) == 2
    # Another batch, or the same after the generator had its move: the features are new.
    model.step_losses(given, "discriminator")
    model.step_losses(other, "discriminator")
    assert len(passes) == 4


def test_each_players_move_is_to_its_own_good() -> None:
    torch.manual_seed(0)
    model = dataclasses.replace(SMALL, alpha=0.0, beta=0.0, gamma=1.0).build(classes=5)
    given = batch()
    groups = model.parameter_groups()

    def move(turn: str, group: str) -> float:
        before = model.step_losses(given, "discriminator").total.item()
        model.zero_grad()
        model.step_losses(given, turn).total.backward()
        with torch.no_grad():
            for parameter in groups[group]:
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=1e-2)
        model.step_losses(given, "generator")
        return model.step_losses(given, "discriminator").total.item() - before

    assert move("discriminator", "discriminator") < 0
    assert move("generator", "backbone") > 0


def test_every_parameter_moves_in_one_turn_at_one_rate() -> None:
    model = SMALL.build(classes=5)
    groups = model.parameter_groups()
    grouped = [id(p) for group in groups.values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    (stage,) = model.phases(1)
    trained = [set(turn.groups) for turn in stage.steps]
    assert trained == [{"discriminator"}] * 3 + [{"backbone", "heads"}]
    assert model.group_lrs() == {"discriminator": SMALL.discriminator_lr}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("alpha", -1.0),
        ("gamma", math.nan),
        ("margin", -0.5),
        ("discriminator_steps", 0),
        ("discriminator_lr", 0.0),
    ],
)
def test_options_out_of_range_are_quoted(option: str, value: float) -> None:
    flag = option.replace("_", "-")
    with pytest.raises(ConfigError, match=rf"'{value}'.*--{flag}"):
        dataclasses.replace(SMALL, **{option: value})  # type: ignore[arg-type]
