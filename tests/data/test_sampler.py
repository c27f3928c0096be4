"""The sampler's promises, for any labels: P x K, no repeats, every identity in turn, by seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vireid.data.sampler import BatchIndices, CrossModalSampler, class_indices
from vireid.errors import ConfigError
from vireid.types import ImageRecord, Modality


@dataclass(frozen=True)
class Case:
    visible: NDArray[np.int64]
    infrared: NDArray[np.int64]
    identities: int
    images: int
    seed: int

    @property
    def sampler(self) -> CrossModalSampler:
        return CrossModalSampler(
            self.visible,
            self.infrared,
            identities=self.identities,
            images=self.images,
            seed=self.seed,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    counts = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
    both = sum(v > 0 and t > 0 for v, t in counts)
    assume(both)
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    visible, infrared = (
        rng.permutation(np.repeat(np.arange(len(counts)), [pair[side] for pair in counts]))
        for side in (0, 1)
    )
    return Case(visible, infrared, draw(st.integers(1, both)), draw(st.integers(1, 6)), seed % 1000)


def as_lists(batches: list[BatchIndices]) -> list[list[list[int]]]:
    return [[b.visible.tolist(), b.infrared.tolist(), b.labels.tolist()] for b in batches]


@given(cases())
def test_a_batch_is_p_identities_of_k_images_in_each_modality(case: Case) -> None:
    for batch in case.sampler.epoch(0):
        grouped = batch.labels.reshape(case.identities, case.images)
        assert (grouped == grouped[:, :1]).all()
        assert len(set(grouped[:, 0].tolist())) == case.identities
        np.testing.assert_array_equal(case.visible[batch.visible], batch.labels)
        np.testing.assert_array_equal(case.infrared[batch.infrared], batch.labels)
        assert {a.dtype for a in (batch.visible, batch.infrared, batch.labels)} == {
            np.dtype(np.int64)
        }


@given(cases())
def test_images_repeat_within_a_batch_only_when_short_and_then_evenly(case: Case) -> None:
    for batch in case.sampler.epoch(1):
        for labels, drawn in ((case.visible, batch.visible), (case.infrared, batch.infrared)):
            for group in drawn.reshape(case.identities, case.images):
                available = int((labels == labels[group[0]]).sum())
                times = Counter(group.tolist()).values()
                assert len(times) == min(available, case.images)
                assert max(times) - min(times) <= 1
                assert max(times) == -(-case.images // available)


@given(cases())
def test_every_identity_has_its_turn_once_a_pass(case: Case) -> None:
    sampler = case.sampler
    order = np.concatenate([batch.labels[:: case.images] for batch in sampler.epoch(2)])
    everyone = set(case.visible.tolist()) & set(case.infrared.tolist())
    assert sampler.report.classes == len(everyone)
    for start in range(0, len(order), len(everyone)):
        one_pass = order[start : start + len(everyone)].tolist()
        assert len(set(one_pass)) == len(one_pass)
        assert set(one_pass) <= everyone
    if len(order) >= len(everyone):
        assert set(order.tolist()) == everyone


@given(cases())
def test_the_images_of_an_identity_have_their_turn_once_a_round(case: Case) -> None:
    batches = case.sampler.epoch(3)
    for labels, drawn in (
        (case.visible, np.concatenate([b.visible for b in batches])),
        (case.infrared, np.concatenate([b.infrared for b in batches])),
    ):
        for label in np.unique(labels):
            own = drawn[labels[drawn] == label].tolist()
            available = int((labels == label).sum())
            if available <= case.images:
                continue
            for start in range(0, len(own), available):
                one_round = own[start : start + available]
                assert len(set(one_round)) == len(one_round)


@given(cases())
def test_seed_and_epoch_alone_decide(case: Case) -> None:
    sampler = case.sampler
    first = as_lists(sampler.epoch(5))
    sampler.epoch(0)
    assert as_lists(sampler.epoch(5)) == first
    assert as_lists(case.sampler.epoch(5)) == first


def test_other_seeds_and_epochs_draw_otherwise() -> None:
    labels = np.repeat(np.arange(20), 5)
    draws = [
        as_lists(CrossModalSampler(labels, labels, identities=4, images=2, seed=s).epoch(e))
        for s, e in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert all(a != b for i, a in enumerate(draws) for b in draws[:i])


@given(cases())
def test_an_epoch_has_the_length_of_tslfn(case: Case) -> None:
    everyone = set(case.visible.tolist()) & set(case.infrared.tolist())
    longest = max(
        int(np.isin(side, list(everyone)).sum()) for side in (case.visible, case.infrared)
    )
    expected = max(1, longest // (case.identities * case.images))
    sampler = case.sampler
    assert sampler.report.batches == len(sampler.epoch(0)) == expected


@pytest.mark.parametrize(
    ("classes", "visible", "infrared", "batches"),
    [(395, 22_258, 11_909, 695), (206, 2_060, 2_060, 64)],
    ids=["sysu-mm01", "regdb"],
)
def test_the_published_epoch_lengths(
    classes: int, visible: int, infrared: int, batches: int
) -> None:
    sampler = CrossModalSampler(
        np.arange(visible) % classes, np.arange(infrared) % classes, identities=4, images=8, seed=0
    )
    assert sampler.report.batches == batches
    assert str(sampler.report) == ""
    epoch = sampler.epoch(0)
    turns = Counter(np.concatenate([b.labels[::8] for b in epoch]).tolist())
    owned = Counter((np.arange(visible) % classes).tolist())
    seen = np.concatenate([b.visible for b in epoch]).tolist()
    assert len(set(seen)) == sum(min(owned[c], 8 * turns[c]) for c in owned)


def test_the_report_names_identities_of_one_modality_and_short_ones() -> None:
    visible = np.array([0, 0, 0, 1, 2, 2, 2, 4])
    infrared = np.array([0, 0, 1, 1, 1, 3, 4, 4, 4])
    sampler = CrossModalSampler(visible, infrared, identities=2, images=3, seed=0)
    report = sampler.report
    assert (report.classes, report.batches, report.left_out) == (3, 1, (2, 3))
    assert (report.visible_only, report.infrared_only) == ((2,), (3,))
    assert (report.short_visible, report.short_infrared) == ((1, 4), (0,))
    assert str(report) == (
        "2 of 5 identities are left out because they have images of one modality only (1 visible,"
        " 1 infrared); 3 of 3 identities have fewer than 3 images of a modality (2 visible, 1"
        " infrared), whose images repeat within a batch."
    )
    for epoch in range(20):
        for batch in sampler.epoch(epoch):
            assert not {2, 3} & set(batch.labels.tolist())


def test_too_few_identities_name_the_flag_to_lower() -> None:
    labels, fewer = np.array([0, 1, 2]), np.array([0, 1])
    with pytest.raises(ConfigError, match=r"--identities 3` .* the 2 identities .* lower"):
        CrossModalSampler(labels, fewer, identities=3, images=1, seed=0)
    with pytest.raises(ConfigError, match=r"--identities 1` .* the 0 identities"):
        CrossModalSampler(labels, labels[:0], identities=1, images=1, seed=0)


@pytest.mark.parametrize(
    ("identities", "images", "seed", "quoted"),
    [(0, 1, 0, "--identities 0"), (1, 0, 0, "--images 0"), (1, 1, -1, "--seed -1")],
)
def test_numbers_out_of_range_are_quoted(
    identities: int, images: int, seed: int, quoted: str
) -> None:
    labels = np.array([0, 1])
    with pytest.raises(ConfigError, match=quoted):
        CrossModalSampler(labels, labels, identities=identities, images=images, seed=seed)


def test_a_negative_epoch_is_refused() -> None:
    labels = np.array([0, 1])
    with pytest.raises(ConfigError, match="epoch -1"):
        CrossModalSampler(labels, labels, identities=1, images=1, seed=0).epoch(-1)


def test_class_indices_follow_the_identities_in_order() -> None:
    records = [ImageRecord(Path("a"), identity, 1, Modality.VISIBLE) for identity in (42, 7, 42, 9)]
    assert class_indices(records) == {7: 0, 9: 1, 42: 2}
    assert list(class_indices(records)) == [7, 9, 42]
