"""DLIS as DESIGN.md defines it."""

import dataclasses
import math
from functools import partial
from typing import get_args

import pytest
import torch
from tests.helpers.batches import random_batch
from torch import nn
from torch.nn import functional as F

from vireid.errors import ConfigError
from vireid.losses import hetero_center_loss
from vireid.methods import DLIS, DLISConfig, dlis, tslfn
from vireid.nn import PALM, record_attention
from vireid.nn.backbone import StageName
from vireid.nn.palm import PalmBranch
from vireid.types import Modality

SMALL = DLISConfig(backbone="resnet18", weights="none", size=(96, 48), dim=16)
batch = partial(random_batch, range(4), range(4), size=SMALL.size)


def test_the_published_shapes() -> None:
    model = DLIS(dataclasses.replace(dlis.recipe().method, weights="none"), classes=395).eval()
    images = torch.randn(2, 3, 288, 144)
    with torch.inference_mode(), record_attention(model) as maps:
        stripes = model(images, 1)
        feature = model.extract_features(images, Modality.INFRARED)
    assert stripes.shape == (2, 6, 512)
    assert feature.shape == (2, 3072)
    assert torch.allclose(feature.norm(dim=1), torch.ones(2))
    assert maps[0].shape == (2, 162, 162)
    assert torch.allclose(maps[0].sum(-1), torch.ones(2, 162), atol=1e-5)
    palms = [m for m in model.modules() if isinstance(m, PALM)]
    assert [sum(p.numel() for p in m.parameters()) for m in palms] == [5_245_441]
    assert model.heads.weight.shape == (6, 2048, 512)
    assert model.heads.classifier_weight.shape == (6, 512, 395)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        *({"palm_branch": branch} for branch in get_args(PalmBranch)),
        {"palm_branch": "centred", "palm_position": "relative"},
        {"palm_branch": "centred", "palm_position": "relative", "pooling": "gem"},
        {"palm": "layer3", "palm_branch": "batch_norm"},
        {"palm": "stripes", "palm_scaled": True},
    ],
)
def test_at_its_start_it_is_tslfn_bit_for_bit(training: bool, options: dict[str, object]) -> None:
    outputs = []
    chosen = dataclasses.replace(SMALL, **options)  # type: ignore[arg-type]
    for config in (chosen, dataclasses.replace(chosen, palm="off")):
        torch.manual_seed(7)
        model = DLIS(config, classes=5).train(training)
        torch.manual_seed(8)
        outputs.append((model(torch.randn(4, 3, 96, 48), 2), model.losses(batch()).terms))
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert outputs[1][1].keys() == {"identity", "center"}
    for name, term in outputs[1][1].items():
        assert torch.equal(outputs[0][1][name], term), name


def test_tslfn_is_dlis_with_palm_off() -> None:
    for with_palm, without in (
        (dlis.recipe(), tslfn.recipe()),
        (dlis.strong_recipe(), tslfn.strong_recipe()),
    ):
        assert with_palm.method.palm == "layer4"
        assert without.method == dataclasses.replace(with_palm.method, palm="off")
        assert without.optimisation == with_palm.optimisation
        assert without.batch == with_palm.batch
        assert without.augmentation == with_palm.augmentation


def test_the_paper_like_recipe() -> None:
    recipe = dlis.recipe()
    assert (recipe.batch.identities, recipe.batch.images) == (4, 8)
    assert (recipe.optimisation.lr, recipe.optimisation.backbone_lr) == (0.01, 0.001)
    assert (recipe.optimisation.epochs, recipe.optimisation.milestones) == (60, (30,))
    assert (recipe.method.size, recipe.method.stripes, recipe.method.dim) == ((288, 144), 6, 512)
    assert (recipe.method.center, recipe.method.shared_from) == (0.5, None)
    assert (recipe.augmentation.pad, recipe.augmentation.flip) == (10, True)


@torch.no_grad()
def test_the_loss_is_a_sum_over_stripes() -> None:
    torch.manual_seed(2)
    config = dataclasses.replace(SMALL, center=0.25, center_gate=0.0)
    model = DLIS(config, classes=5).eval()
    data = batch()
    losses = model.losses(data)
    embeddings = model(torch.cat([data.visible, data.infrared]), 4)
    logits = model.heads.classify(embeddings)
    labels = torch.cat([data.visible_labels, data.infrared_labels])
    identity = sum(float(F.cross_entropy(logits[:, p], labels)) for p in range(6))
    center = sum(
        float(
            hetero_center_loss(
                embeddings[:4, p], embeddings[4:, p], data.visible_labels, data.infrared_labels
            )
        )
        for p in range(6)
    )
    assert float(losses.terms["identity"]) == pytest.approx(identity, rel=1e-5)
    assert float(losses.terms["center"]) == pytest.approx(0.25 * center, rel=1e-5)
    assert float(losses.total) == pytest.approx(identity + 0.25 * center, rel=1e-5)
    assert losses.identity is not None
    assert losses.features is not None
    assert float(losses.identity) == pytest.approx(identity / 6, rel=1e-5)
    assert not losses.features.requires_grad


@torch.no_grad()
def test_the_gate_holds_the_center_loss_back_until_the_identity_loss_falls() -> None:
    model = DLIS(dataclasses.replace(SMALL, center_gate=0.2), classes=50).eval()
    free = DLIS(dataclasses.replace(SMALL, center_gate=0.0), classes=50).eval()
    data = batch()
    nn.init.normal_(model.heads.classifier_weight, std=1e-6)
    free.load_state_dict(model.state_dict())
    held, full = model.losses(data).terms, free.losses(data).terms
    assert float(full["center"]) > 0
    assert float(held["center"]) == pytest.approx(0, abs=1e-4)
    # The classifiers' biases alone lower the loss: by a tenth, half of the gate's fifth.
    identity = 0.9 * math.log(50)
    ahead = math.exp(-identity) * 4  # probability of each of the batch's four classes, summed
    nn.init.constant_(model.heads.classifier_bias[..., :4], math.log(46 * ahead / 4 / (1 - ahead)))
    now = model.losses(data)
    assert now.identity is not None
    assert float(now.identity) == pytest.approx(identity, rel=1e-4)
    assert float(now.terms["center"]) == pytest.approx(0.5 * float(full["center"]), rel=1e-3)
    assert float(now.terms["identity"]) == pytest.approx(6 * identity, rel=1e-4)


def test_the_untrained_identity_loss_is_that_of_guessing() -> None:
    identity = DLIS(SMALL, classes=50).losses(batch()).identity
    assert identity is not None
    assert float(identity) == pytest.approx(math.log(50), abs=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"palm": "off"},
        {"palm": "layer3", "palm_shared": False},
        {"palm": "stripes", "palm_scaled": True},
        {"palm_branch": "batch_norm", "shared_from": "layer1"},
        {"shared_from": "stem", "pooling": "gem", "embedding_bias": False},
        {"triplet": 1.0, "smoothing": 0.1, "center_reduction": "mean", "center_gate": 0.0},
        {"palm_branch": "centred", "palm_position": "relative"},
        {"palm_branch": "gamma", "palm_position": "relative", "palm_lr": "backbone"},
        {"palm": "off", "pooling": "gem"},
    ],
)
def test_one_step_changes_every_trainable_part(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = DLIS(dataclasses.replace(SMALL, **options), classes=5)  # type: ignore[arg-type]
    with torch.no_grad():  # at 0 PALM's own weights get no gradient, by design
        for module in model.modules():
            if isinstance(module, PALM):
                nn.init.constant_(module.gamma if module.norm is None else module.norm.weight, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    model.losses(batch()).total.backward()
    optimizer.step()
    now = dict(model.named_parameters())
    same = [name for name, old in before.items() if torch.equal(now[name], old)]
    # A constant added to all keys' logits or ahead of a batch norm changes nothing.
    assert all(name.endswith(("key.bias", "heads.bias", "value.bias")) for name in same), same
    groups = model.parameter_groups()
    assert sorted(id(p) for g in groups.values() for p in g) == sorted(
        id(p) for p in model.parameters() if p.requires_grad
    )


@pytest.mark.parametrize(("palm_lr", "palms"), [("heads", 0), ("backbone", 7)])
def test_which_rate_palm_trains_with(palm_lr: str, palms: int) -> None:
    config = dataclasses.replace(SMALL, palm_lr=palm_lr)  # type: ignore[arg-type]
    model = DLIS(config, classes=5)
    own = {id(p) for m in model.modules() if isinstance(m, PALM) for p in m.parameters()}
    assert len(own) == 7
    assert sum(id(p) in own for p in model.parameter_groups()["backbone"]) == palms


def test_a_feature_depends_on_its_own_image_and_stream() -> None:
    torch.manual_seed(0)
    model = DLIS(SMALL, classes=5)
    model.losses(batch()).total.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.eval()
    images = torch.randn(3, 3, 96, 48)
    with torch.inference_mode():
        together = model.extract_features(images, Modality.VISIBLE)
        alone = torch.cat(
            [model.extract_features(images[i : i + 1], Modality.VISIBLE) for i in range(3)]
        )
        other = model.extract_features(images, Modality.INFRARED)
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together, other, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (16, 16)}, "'16 16'"),
        ({"size": (64, 64), "stripes": 6}, "'6' stripes do not fit a map of 4 rows"),
        ({"stripes": 0}, "'0' stripes"),
        ({"smoothing": 1.0}, "'1.0'"),
        ({"center_gate": 1.0}, "'1.0'"),
        ({"center": -1.0}, "'-1.0'"),
        ({"center": math.nan}, "'nan'"),
    ],
)
def test_contradictions_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        DLISConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shared_from", [None, "layer2"])
def test_frozen_stages_and_norms_keep_their_weights_and_statistics(
    shared_from: StageName | None,
) -> None:
    config = dataclasses.replace(
        SMALL, frozen="layer1", frozen_norms=True, shared_from=shared_from, palm_branch="batch_norm"
    )
    model = DLIS(config, classes=5).eval().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    groups = [
        {"params": own, "weight_decay": 0.1} for own in model.parameter_groups().values() if own
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    model.losses(batch()).total.backward()
    optimizer.step()
    norms = {
        name for name, module in model.streams.named_modules() if isinstance(module, nn.BatchNorm2d)
    }
    for name, value in model.state_dict().items():
        inner = name.removeprefix("streams.")
        frozen = name.startswith("streams.") and (
            ".stem." in name or ".layer1." in name or inner.rpartition(".")[0] in norms
        )
        # PALM's own batch norm is not the backbone's.
        frozen = frozen and "after_" not in name
        if frozen:
            assert torch.equal(value, before[name]), name
        elif "conv" in name or "layer4" in name:
            assert not torch.equal(value, before[name]), name


def test_features_do_not_depend_on_freezing() -> None:
    images = torch.randn(2, 3, 96, 48)
    features = []
    for frozen in (None, "layer3"):
        torch.manual_seed(0)
        config = dataclasses.replace(SMALL, frozen=frozen, frozen_norms=bool(frozen))
        features.append(DLIS(config, classes=5).eval().extract_features(images, Modality.VISIBLE))
    assert torch.equal(*features)


def test_a_feature_is_the_embeddings_the_pooled_stripes_or_both() -> None:
    def features(kind: str) -> torch.Tensor:
        torch.manual_seed(0)
        network = dataclasses.replace(SMALL, feature=kind).build(classes=3)  # type: ignore[arg-type]
        torch.manual_seed(1)
        with torch.inference_mode():
            images = torch.randn(2, 3, *SMALL.size)
            return network.eval().extract_features(images, Modality.INFRARED)

    embedding, pooled, both = features("embedding"), features("pooled"), features("both")
    assert embedding.shape[1] == SMALL.stripes * SMALL.dim
    assert pooled.shape[1] % SMALL.stripes == 0
    torch.testing.assert_close(both, torch.cat([embedding, pooled], dim=1) / 2**0.5)
    assert (embedding[0] @ embedding[1]).item() != pytest.approx((pooled[0] @ pooled[1]).item())
