"""D2RL as its module describes it."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.data.pixels import denormalise, grey
from vireid.data.transforms import normalise
from vireid.errors import ConfigError
from vireid.losses import batch_hard_triplet_loss
from vireid.methods import Losses, d2rl, on_cpu
from vireid.methods.d2rl import D2RL, D2RLConfig
from vireid.types import CrossModalBatch, Modality

SMALL = D2RLConfig(backbone="resnet18", weights="none", size=(64, 32), width=4, halvings=1)
IMAGE_TURNS = ("translators", "discriminators")


def pictures(count: int, modality: Modality, seed: int) -> Tensor:
    """Normalised images; infrared ones are one channel repeated."""
    pixels = torch.randint(
        0, 256, (count, 3, 64, 32), generator=torch.Generator().manual_seed(seed)
    )
    return normalise(
        pixels if modality is Modality.VISIBLE else pixels[:, :1].expand(-1, 3, -1, -1)
    )


def batch() -> CrossModalBatch:
    return CrossModalBatch(
        visible=pictures(4, Modality.VISIBLE, 1),
        infrared=pictures(4, Modality.INFRARED, 2),
        visible_labels=torch.tensor([0, 0, 3, 3]),
        infrared_labels=torch.tensor([3, 3, 0, 0]),
    )


def test_the_stated_size() -> None:
    config = dataclasses.replace(d2rl.recipe().method, weights="none")
    with torch.device("meta"):
        model = D2RL(config, classes=395).eval()
        features = model.extract_features(torch.empty(2, 3, 288, 144), Modality.INFRARED)
    sizes = {g: sum(p.numel() for p in ps) for g, ps in model.parameter_groups().items()}
    assert sizes["translators"] == 1_701_380
    assert sizes["discriminators"] == 217_794
    assert sum(sizes.values()) == sum(p.numel() for p in model.parameters()) == 26_239_697
    assert features.shape == (2, 2048)


def test_first_the_pictures_then_the_people() -> None:
    model = D2RL(dataclasses.replace(SMALL, share=0.4), classes=5)
    first, second = model.phases(16)
    assert (first.epochs, second.epochs) == (6, 10)
    assert [(turn.name, turn.groups) for turn in first.steps] == [
        ("translators", ("translators",)),
        ("discriminators", ("discriminators",)),
    ]
    assert [(turn.name, turn.groups) for turn in second.steps] == [
        ("identities", ("backbone", "heads"))
    ]
    # The people always have an epoch; a stage of none is left out.
    assert [stage.epochs for stage in model.phases(1)] == [1]
    greedy = D2RL(dataclasses.replace(SMALL, share=0.99), classes=5)
    assert [stage.epochs for stage in greedy.phases(5)] == [4, 1]


def test_unified_images_have_their_own_planes_and_translated_ones() -> None:
    model = D2RL(SMALL, classes=5)
    for modality in Modality:
        images = pictures(2, modality, 3)
        four, other = model.input_channels(images, modality), model.translate(images, modality)
        assert four.shape == (2, 4, 64, 32)
        visible, infrared = (images, other) if modality is Modality.VISIBLE else (other, images)
        assert torch.equal(four[:, :3], visible)
        assert torch.equal(four[:, 3:], grey(infrared))


def test_translations_are_pictures_of_the_other_modality() -> None:
    model = D2RL(dataclasses.replace(SMALL, reduction=2), classes=5)
    to_infrared = denormalise(model.translate(pictures(2, Modality.VISIBLE, 4), Modality.VISIBLE))
    torch.testing.assert_close(to_infrared[:, :1].expand(-1, 3, -1, -1), to_infrared)
    to_visible = denormalise(model.translate(pictures(2, Modality.INFRARED, 4), Modality.INFRARED))
    assert to_visible.std(1).max() > 1e-3
    for made in (to_infrared, to_visible):
        assert made.shape == (2, 3, 64, 32)
        assert made.min() > -1e-5
        assert made.max() < 1 + 1e-5


@pytest.mark.parametrize(("height", "width"), [(64, 32), (61, 35), (33, 32)])
@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_any_size_is_translated(height: int, width: int, reduction: int) -> None:
    config = dataclasses.replace(SMALL, halvings=2, reduction=reduction, size=(height, width))
    images = torch.randn(1, 3, height, width)
    made = D2RL(config, classes=2).translate(images, Modality.VISIBLE)
    assert made.shape == images.shape


def test_nothing_random_in_features_even_in_training_mode() -> None:
    model = D2RL(SMALL, classes=5).train()
    images = pictures(3, Modality.VISIBLE, 5)
    state = torch.get_rng_state()
    assert torch.equal(
        model.translate(images, Modality.VISIBLE), model.translate(images, Modality.VISIBLE)
    )
    model.losses(batch())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.translate(images, Modality.VISIBLE).requires_grad


def _terms_by_hand(model: D2RL, given: CrossModalBatch) -> dict[str, Tensor]:
    """L_G and L_D from the network's parts, in the order of the random draws of a turn."""
    net, judges, noise = model.translator, model.discriminators, torch.randn_like
    real = {
        Modality.VISIBLE: 2 * denormalise(given.visible) - 1,
        Modality.INFRARED: 2 * denormalise(given.infrared)[:, :1] - 1,
    }
    found = dict.fromkeys(("reconstruction", "kl", "adversarial", "cycle"), torch.zeros(()))
    torch.manual_seed(9)
    for a, b in ((Modality.VISIBLE, Modality.INFRARED), (Modality.INFRARED, Modality.VISIBLE)):
        mean = net.encode(real[a], a)
        z = mean + noise(mean)
        fake = net.decode(z, b)
        mean_of_fake = net.encode(fake, b)
        back = net.decode(mean_of_fake + noise(mean_of_fake), a)
        # KL(N(m, 1) || N(0, 1)) by torch's own distributions.
        unit = torch.distributions.Normal(0.0, 1.0)
        kl = [
            torch.distributions.kl_divergence(torch.distributions.Normal(m, 1.0), unit).mean()
            for m in (mean, mean_of_fake)
        ]
        found["reconstruction"] = (
            found["reconstruction"] + (net.decode(z, a) - real[a]).abs().mean()
        )
        found["kl"] = found["kl"] + kl[0] + kl[1]
        found["adversarial"] = found["adversarial"] + ((judges[b](fake) - 1) ** 2).mean()
        found["cycle"] = found["cycle"] + (back - real[a]).abs().mean()
    torch.manual_seed(9)
    total = torch.zeros(())
    for a, b in ((Modality.INFRARED, Modality.VISIBLE), (Modality.VISIBLE, Modality.INFRARED)):
        mean = net.encode(real[a], a)
        fake = net.decode(mean + noise(mean), b)
        total = (
            total + ((judges[b](real[b]) - 1) ** 2).mean() / 2 + (judges[b](fake) ** 2).mean() / 2
        )
    return {**found, "discriminators": total}


def test_the_image_levels_losses_are_the_stated_ones() -> None:
    weights = {"reconstruction": 3.0, "kl": 0.5, "adversarial": 2.0, "cycle": 7.0}
    config = dataclasses.replace(SMALL, reconstruction=3.0, kl=0.5, adversarial=2.0, cycle=7.0)
    model = D2RL(config, classes=5)
    found: dict[str, Losses] = {}
    for turn in IMAGE_TURNS:
        torch.manual_seed(9)
        found[turn] = model.step_losses(batch(), turn)
    expected = _terms_by_hand(model, batch())
    assert set(found["translators"].terms) == set(weights)
    for name, weight in weights.items():
        torch.testing.assert_close(found["translators"].terms[name], weight * expected[name])
    assert set(found["discriminators"].terms) == {"discriminators"}
    torch.testing.assert_close(found["discriminators"].total, expected["discriminators"])
    assert all(losses.identity is None for losses in found.values())


def test_the_discriminators_accuracy_is_their_share_of_right_patches() -> None:
    model = D2RL(SMALL, classes=5)
    for judge in model.discriminators.values():
        for parameter in judge.parameters():
            torch.nn.init.zeros_(parameter)
    # A score of 0 for everything: all that is made is told right, and nothing that is real.
    assert model.step_losses(batch(), "discriminators").metrics["discriminators_accuracy"] == 0.5


def test_the_feature_levels_losses_are_the_two_of_the_paper() -> None:
    model = D2RL(SMALL, classes=5)
    given = batch()
    found = model.step_losses(given, "identities")
    # Once more, from its parts; batch norms use the batch, so nothing depends on the first pass.
    four = [
        model.input_channels(given.visible, Modality.VISIBLE),
        model.input_channels(given.infrared, Modality.INFRARED),
    ]
    features = model.backbone(torch.cat(four)).mean((2, 3))
    labels = torch.cat([given.visible_labels, given.infrared_labels])
    logits = features @ model.classifier.weight.T + model.classifier.bias
    assert set(found.terms) == {"identity", "triplet"}
    torch.testing.assert_close(found.terms["identity"], F.cross_entropy(logits, labels))
    torch.testing.assert_close(
        found.terms["triplet"],
        batch_hard_triplet_loss(F.normalize(features), labels, margin=0.3),
    )


@pytest.mark.parametrize("turn", [*IMAGE_TURNS, "identities"])
def test_a_turn_reaches_all_that_it_trains(turn: str) -> None:
    model = D2RL(SMALL, classes=5)
    groups = model.parameter_groups()
    model.step_losses(batch(), turn).total.backward()
    reached = {name for name, ps in groups.items() if all(p.grad is not None for p in ps)}
    touched = {name for name, ps in groups.items() if any(p.grad is not None for p in ps)}
    trains = {t.name: set(t.groups) for stage in model.phases(4) for t in stage.steps}[turn]
    assert trains <= reached
    if turn == "identities":
        assert touched == trains
    if turn == "discriminators":
        assert touched == trains


@pytest.mark.parametrize(
    ("option", "value", "flag"),
    [
        ("share", 1.0, "--share"),
        ("share", -0.1, "--share"),
        ("width", 6, "--width"),
        ("width", 0, "--width"),
        ("halvings", -1, "--halvings"),
        ("reduction", 0, "--reduction"),
        ("translator_lr", 0.0, "--translator-lr"),
        ("kl", -1.0, "--kl"),
        ("margin", float("nan"), "--margin"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, flag: str) -> None:
    with pytest.raises(ConfigError, match=flag) as error:
        dataclasses.replace(SMALL, **{option: value})  # type: ignore[arg-type]
    assert str(value) in str(error.value)


def test_two_cores_get_the_neck_and_smaller_translators() -> None:
    published, small = d2rl.recipe().method, on_cpu(d2rl.recipe()).method
    assert (published.neck, small.neck) == (False, True)
    model = D2RL(dataclasses.replace(small, weights="none"), classes=5)
    seen = []
    model.translator.into.register_forward_hook(lambda _, __, latent: seen.append(latent.shape))
    model.translate(torch.randn(1, 3, *small.size), Modality.VISIBLE)
    # The latent has a quarter of the image's resolution, as in the published recipe.
    assert seen == [(1, 32, 36, 18)]
