"""Verdicts on searches and pairs at chosen error rates, from the statistics of labelled images.

A search for somebody who is *not* in a gallery still returns hits. The share of such searches with
a hit above a threshold is the false positive identification rate (FPIR) of ISO/IEC 19795-1
(biometric performance testing); it depends on the threshold and on the size of the gallery. Let p
be the false match rate of the threshold: the share of image pairs of two different people that
exceed it. Then

    FPIR <= n p

where n is the number of images searched: the expected number of false matches bounds the
probability of at least one, however the images depend on each other. Images of one person do
depend on each other: where the number of people is known, n is their number times the effective
number of images of one person. A hit is *likely* above the threshold of p = false_match / n, which
rises with the size of the gallery.

Conversely, the share ``missed`` of the comparisons of images of the same person fall below the
threshold under which a hit is *probably not* the person. If all hits do, the search is rejected;
this happens to at most that share of mated searches (the false negative identification rate, FNIR),
whatever the size of the gallery. Such a verdict is evidence of at least 1 to ``missed``, 20 to 1,
that the person is not there.

Both thresholds are taken at the conservative end of their 95 % confidence intervals over people.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vireid.errors import ConfigError, GalleryError
from vireid.gallery.filters import Hit
from vireid.openset.statistics import (
    CameraView,
    EffectiveImages,
    ErrorRates,
    GenuineScores,
    ImpostorScores,
)
from vireid.openset.tail import STRICT, Estimate
from vireid.types import Modality

__all__ = ["Answer", "Calibration", "PairVerdict", "Verdict"]


class Verdict(StrEnum):
    """The decision on a search: whether the person is in the gallery."""

    LIKELY = "likely match"
    UNCERTAIN = "uncertain"
    ABSENT = "probably not in this gallery"


class PairVerdict(StrEnum):
    """The decision on two images: whether they show the same person."""

    SAME = "likely the same person"
    UNCERTAIN = "uncertain"
    DIFFERENT = "probably not the same person"


@dataclass(frozen=True, slots=True)
class Answer:
    """The decisions on a search.

    Attributes:
        verdict: On the search.
        hits: On each hit, in the order of the hits. The threshold for a hit is higher than that
            for a single pair of images, since it is the best of many.
        note: A sentence if the threshold is extrapolated, else empty.
    """

    verdict: Verdict
    hits: tuple[PairVerdict, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Statistics of one network's scores, estimated from labelled images.

    Attributes:
        fingerprint: Fingerprint of the network's weights.
        rates: The error rates it keeps, whatever the size of the gallery: of non-mated searches
            called a likely match (FPIR), and of mated searches called probably not in the gallery
            (FNIR).
        people: Number of people in the labelled images.
        images: Number of labelled images.
        impostors: For two modalities over all their cameras, and for each two cameras with enough
            people.
        genuine: Likewise.
        effective_images: For each direction of search between modalities.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    fingerprint: str
    rates: ErrorRates
    people: int
    images: int
    impostors: tuple[ImpostorScores, ...]
    genuine: tuple[GenuineScores, ...]
    effective_images: tuple[EffectiveImages, ...]

    def __post_init__(self) -> None:
        impostors = {(scores.first, scores.second) for scores in self.impostors}
        genuine = {(scores.query, scores.gallery) for scores in self.genuine}
        for one in self.effective_images:
            pair = CameraView(one.query), CameraView(one.gallery)
            if tuple(sorted(pair)) not in impostors or pair not in genuine:
                raise ValueError(f"no thresholds of {one.query} to {one.gallery} searches")

    def answer(
        self,
        hits: Sequence[Hit],
        *,
        query: CameraView,
        images: Mapping[Modality, int],
        people: int | None = None,
    ) -> Answer | None:
        """Decide on a search with one image.

        Args:
            hits: The hits, best first; not all images searched need to be among them.
            query: View of the query.
            images: Number of images searched of each modality, including those that are no hits.
            people: Number of people they show at most; None takes every image as another person.

        Returns:
            None where nothing was searched, or a modality is not calibrated.

        Raises:
            GalleryError: A score is not finite, or there are more hits than images searched.
        """
        views = [CameraView.of_image(hit.info) for hit in hits]
        for modality, number in Counter(view.modality for view in views).items():
            if number > images.get(modality, 0):
                raise GalleryError(
                    f"{number} {modality} hits cannot come from a search among "
                    f"{images.get(modality, 0)} {modality} images; expected the number of all "
                    "images searched: pass what the gallery counts with the same filters."
                )
        for hit in hits:
            _check_finite(hit.score)
        effective = self._effective_number(query.modality, images, people)
        if not effective:
            return None
        fmr = self.rates.false_match / effective
        verdicts = tuple(
            self._judge(hit.score, query, view, fmr) for hit, view in zip(hits, views, strict=True)
        )
        return Answer(
            verdict=self._verdict(hits, verdicts, query, images),
            hits=verdicts,
            note=self._note(query.modality, images, fmr),
        )

    def pair(self, score: float, first: CameraView, second: CameraView) -> PairVerdict | None:
        """Decide on two images that do not come from a search (verification, 1:1).

        Two images of different people are called the same person in at most ``false_match`` of
        all cases. For a hit of a search that is far too lenient: see :meth:`answer`.

        Args:
            score: Cosine of their features.
            first: View of the one.
            second: View of the other.

        Returns:
            None where their modalities are not calibrated.

        Raises:
            GalleryError: The score is not finite.
        """
        _check_finite(score)
        if self._effective_images(first.modality, second.modality) is None:
            return None
        return self._judge(score, first, second, self.rates.false_match)

    def match_threshold(
        self,
        query: CameraView,
        found: CameraView,
        *,
        images: Mapping[Modality, int],
        people: int | None = None,
    ) -> Estimate | None:
        """The score from which a hit is a likely match; the upper end of the interval is used.

        Args:
            query: View of the query.
            found: View of the hit.
            images: Number of images searched of each modality.
            people: Number of people they show at most; None takes every image as another person.

        Returns:
            None where nothing is searched, or a modality is not calibrated.
        """
        effective = self._effective_number(query.modality, images, people)
        if not effective or self._effective_images(query.modality, found.modality) is None:
            return None
        return self._impostors(query, found).threshold(self.rates.false_match / effective)

    def non_match_threshold(self, query: CameraView, found: CameraView) -> Estimate | None:
        """The score below which a hit is probably another person; the lower end is used.

        Args:
            query: View of the query.
            found: View of the hit.

        Returns:
            None where their modalities are not calibrated.
        """
        if self._effective_images(query.modality, found.modality) is None:
            return None
        return self._non_match_threshold(query, found)

    def to_json(self) -> str:
        """The calibration as JSON, to be stored with the gallery."""
        return TypeAdapter(type(self)).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str, *, fingerprint: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Args:
            text: The JSON.
            fingerprint: Fingerprint of the network whose scores are to be judged.

        Raises:
            GalleryError: The JSON is damaged, or the calibration is of another network.
        """
        fix = "run `vireid gallery calibrate` with the run of the gallery's network."
        try:
            found = TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the whole"
            raise GalleryError(
                f"The gallery's calibration is damaged ({field}: {first['msg']}); {fix}"
            ) from None
        except ConfigError as error:
            raise GalleryError(f"The gallery's calibration is damaged ({error}); {fix}") from None
        if found.fingerprint != fingerprint:
            raise GalleryError(
                f"The gallery's calibration is of the network '{found.fingerprint}', not of "
                f"'{fingerprint}', whose scores are not comparable; {fix}"
            )
        return found

    def _effective_number(
        self, query: Modality, images: Mapping[Modality, int], people: int | None
    ) -> float | None:
        """Effective number of images searched; None where a modality is not calibrated."""
        effective = 0.0
        for gallery, number in images.items():
            if number == 0:
                continue
            known = self._effective_images(query, gallery)
            if known is None:
                return None
            shown = number if people is None else min(max(people, 1), number)
            each = number / shown
            # At most their number. Up to as many images a person as in the calibration, they count
            # as many as those; beyond, in proportion.
            beyond = max(1.0, each / known.images)
            effective += shown * min(each, known.effective.value * beyond)
        return effective

    def _effective_images(self, query: Modality, gallery: Modality) -> EffectiveImages | None:
        known = (e for e in self.effective_images if (e.query, e.gallery) == (query, gallery))
        return next(known, None)

    def _impostors(self, one: CameraView, other: CameraView) -> ImpostorScores:
        """Impostor scores of two cameras, or else of their modalities."""
        known = {(scores.first, scores.second): scores for scores in self.impostors}
        first, second = sorted((one, other))
        if (exact := known.get((first, second))) is not None:
            return exact
        return known[CameraView(first.modality), CameraView(second.modality)]

    def _non_match_threshold(self, query: CameraView, found: CameraView) -> Estimate:
        """The threshold of two cameras, or else of their modalities."""
        known = {(scores.query, scores.gallery): scores.threshold for scores in self.genuine}
        general = known[CameraView(query.modality), CameraView(found.modality)]
        return known.get((query, found), general)

    def _judge(self, score: float, query: CameraView, found: CameraView, fmr: float) -> PairVerdict:
        if score >= self._impostors(query, found).threshold(fmr).high:
            return PairVerdict.SAME
        if score < self._non_match_threshold(query, found).low:
            return PairVerdict.DIFFERENT
        return PairVerdict.UNCERTAIN

    def _verdict(
        self,
        hits: Sequence[Hit],
        verdicts: Sequence[PairVerdict],
        query: CameraView,
        images: Mapping[Modality, int],
    ) -> Verdict:
        if PairVerdict.SAME in verdicts:
            return Verdict.LIKELY
        if PairVerdict.UNCERTAIN in verdicts:
            return Verdict.UNCERTAIN
        if len(hits) < sum(images.values()):
            # An image that is not listed may score as high as the last one listed, and come from
            # a camera with a lower threshold.
            highest = hits[-1].score if hits else math.inf
            views = {one.gallery for one in self.genuine if images.get(one.gallery.modality)}
            if any(highest >= self._non_match_threshold(query, view).low for view in views):
                return Verdict.UNCERTAIN
        return Verdict.ABSENT

    def _note(self, query: Modality, images: Mapping[Modality, int], fmr: float) -> str:
        searched = [CameraView(modality) for modality, number in images.items() if number]
        observed = max(self._impostors(CameraView(query), v).observed_fmr for v in searched)
        if fmr >= observed:
            return ""
        most, effective = self.rates.false_match / observed, self.rates.false_match / fmr
        return (
            f"Calibrated for searches among up to {most:,.0f} images of different people; this one "
            f"counts as {effective:,.0f}, so that its threshold is extrapolated."
        )


def _check_finite(score: float) -> None:
    if not math.isfinite(score):
        raise GalleryError(
            f"The score {score} is not finite; expected a cosine in [-1, 1]: run `vireid gallery "
            "verify` to find the damaged feature."
        )
