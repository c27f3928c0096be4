"""How sure an answer is: verdicts on searches and pairs, at rates of error learnt from labels.

A search for somebody who is *not* in a gallery still brings hits. How often one of them passes for
that person is the false positive identification rate of ISO/IEC 19795-1 (testing of biometric
performance); it depends on the threshold and on how much is searched. Let p be the share of pairs
of images of two different people that are at least so similar. Then

    rate of such searches with a hit at least so similar <= n p

where n is the number of images searched, for the expected number of wrong hits bounds the chance
of one, whatever the images have in common. Frames of one person have much in common: where the
number of people is known, n is their number times what the frames of one person count. A hit is
*likely* from the threshold of p = false_match / n on, which rises with what is searched.

The other way round, the share ``missed`` of the pairs of images of one person are less similar than
the threshold below which a hit is *probably not* the person. If all hits are, the person is sent
away; that happens to at most that share of those who are there, in a gallery of any size. To say so
is evidence of at least 1 to ``missed``, 20 to 1, that the person is not there.

Both thresholds are taken at the careful end of their 95 % intervals over people.
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
from vireid.gallery.entry import Hit
from vireid.openset.statistics import Frames, GenuineScores, ImpostorScores, View, check_rates
from vireid.openset.tail import STRICT, Estimate
from vireid.types import Modality

__all__ = ["Answer", "Calibration", "PairVerdict", "Verdict"]


class Verdict(StrEnum):
    """What a search says of the person who was searched for."""

    LIKELY = "likely match"
    UNCERTAIN = "uncertain"
    ABSENT = "probably not in this gallery"


class PairVerdict(StrEnum):
    """What a comparison says of the people in two images."""

    SAME = "likely the same person"
    UNCERTAIN = "uncertain"
    DIFFERENT = "probably not the same person"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search says.

    Attributes:
        verdict: Of the person who was searched for.
        hits: Of each hit whether it shows that person, in the order of the hits. More is asked of
            a hit than of two images that somebody compares: it was the best of many.
        note: Where more was searched than the calibration has seen, a sentence that says so.
    """

    verdict: Verdict
    hits: tuple[PairVerdict, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was learnt from labelled images about the similarities that one network gives.

    Attributes:
        fingerprint: Short name of the network's weights.
        false_match: At most this share of the searches for people who are not in a gallery are
            called a likely match.
        missed: At most this share of the searches for people who are in it are called probably
            not there, however large it is.
        own_images: ``missed`` holds for people of whom there are at least so many images from one
            camera.
        people: How many people it was learnt from.
        images: How many images of them.
        impostors: Of two modalities, all cameras together, and of two cameras each where there
            was enough.
        mates: The same.
        frames: What several images of one person count.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    fingerprint: str
    false_match: float
    missed: float
    own_images: int
    people: int
    images: int
    impostors: tuple[ImpostorScores, ...]
    mates: tuple[GenuineScores, ...]
    frames: tuple[Frames, ...]

    def __post_init__(self) -> None:
        check_rates(self.false_match, self.missed, self.own_images)
        general = {(found.first, found.second) for found in self.impostors}
        own = {(mates.query, mates.searched) for mates in self.mates}
        for frames in self.frames:
            pair = View(frames.query), View(frames.searched)
            if tuple(sorted(pair)) not in general or pair not in own:
                raise ValueError(f"no thresholds of {frames.query} to {frames.searched} searches")

    def answer(
        self,
        hits: Sequence[Hit],
        *,
        query: View,
        images: Mapping[Modality, int],
        people: int | None = None,
    ) -> Answer | None:
        """The verdicts on a search by one image.

        Args:
            hits: What it brought, best first; not all that was searched need be there.
            query: Where the query comes from.
            images: How many images of each modality were searched, those that are no hits too.
            people: How many different people they show at most; each image another if unknown.

        Returns:
            None where nothing was searched, or a modality that was not calibrated.

        Raises:
            GalleryError: A score is no number, or there are more hits than images searched.
        """
        for modality, number in Counter(hit.entry.modality for hit in hits).items():
            if number > images.get(modality, 0):
                raise GalleryError(
                    f"{number} {modality} hits cannot come from a search among "
                    f"{images.get(modality, 0)} {modality} images; expected the number of all "
                    "images searched: pass what the gallery counts with the same filters."
                )
        for hit in hits:
            _require_number(hit.score)
        counted = self._counted(query.modality, images, people)
        if not counted:
            return None
        share = self.false_match / counted
        verdicts = tuple(
            self._judge(hit.score, query, View(hit.entry.modality, hit.entry.camera), share)
            for hit in hits
        )
        return Answer(
            verdict=self._verdict(hits, verdicts, query, images),
            hits=verdicts,
            note=self._note(query.modality, images, share),
        )

    def pair(self, score: float, first: View, second: View) -> PairVerdict | None:
        """The verdict on two images that were not found by a search.

        Two images of different people are called the same person in at most ``false_match`` of
        all cases. For a hit of a search that is far too little: see :meth:`answer`.

        Args:
            score: Cosine of their features.
            first: Where the one comes from.
            second: Where the other comes from.

        Returns:
            None where their modalities were not calibrated.

        Raises:
            GalleryError: The score is no number.
        """
        _require_number(score)
        if self._frames(first.modality, second.modality) is None:
            return None
        return self._judge(score, first, second, self.false_match)

    def likely(
        self,
        query: View,
        found: View,
        *,
        images: Mapping[Modality, int],
        people: int | None = None,
    ) -> Estimate | None:
        """The score from which a hit is called likely; the upper end of its interval is used.

        Args:
            query: Where the query comes from.
            found: Where the hit comes from.
            images: How many images of each modality were searched.
            people: How many different people they show at most; each image another if unknown.

        Returns:
            None where nothing is searched, or a modality that was not calibrated.
        """
        counted = self._counted(query.modality, images, people)
        if not counted or self._frames(query.modality, found.modality) is None:
            return None
        return self._strangers(query, found).at(self.false_match / counted)

    def unlike(self, query: View, found: View) -> Estimate | None:
        """The score below which a hit is probably another person; the lower end is used.

        Args:
            query: Where the query comes from.
            found: Where the hit comes from.

        Returns:
            None where their modalities were not calibrated.
        """
        if self._frames(query.modality, found.modality) is None:
            return None
        return self._unlike(query, found)

    def to_json(self) -> str:
        """The calibration as text, to be kept beside the gallery's rows."""
        return TypeAdapter(type(self)).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str, *, fingerprint: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Args:
            text: The text.
            fingerprint: Of the network whose similarities are to be judged.

        Raises:
            GalleryError: The text is damaged, or was learnt of another network.
        """
        mend = "run `vireid gallery calibrate` with the run that describes the gallery."
        try:
            found = TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise GalleryError(
                f"The gallery's calibration is damaged ({place}: {first['msg']}); {mend}"
            ) from None
        except ConfigError as error:
            raise GalleryError(f"The gallery's calibration is damaged ({error}); {mend}") from None
        if found.fingerprint != fingerprint:
            raise GalleryError(
                f"The gallery's calibration is of the network '{found.fingerprint}', not of "
                f"'{fingerprint}', whose similarities mean something else; {mend}"
            )
        return found

    def _counted(
        self, query: Modality, images: Mapping[Modality, int], people: int | None
    ) -> float | None:
        """How many images of different people those that are searched count; None if unknown."""
        counted = 0.0
        for searched, number in images.items():
            if number == 0:
                continue
            frames = self._frames(query, searched)
            if frames is None:
                return None
            shown = number if people is None else min(max(people, 1), number)
            each = number / shown
            # Neither more than their number, nor than as many people with as many frames as were
            # calibrated with; beyond these, frames count in proportion.
            beyond = max(1.0, each / frames.images)
            counted += shown * min(each, frames.independent.value * beyond)
        return counted

    def _frames(self, query: Modality, searched: Modality) -> Frames | None:
        known = (f for f in self.frames if (f.query, f.searched) == (query, searched))
        return next(known, None)

    def _strangers(self, one: View, other: View) -> ImpostorScores:
        """What was learnt of strangers on two cameras, or else in their modalities."""
        known = {(found.first, found.second): found for found in self.impostors}
        first, second = sorted((one, other))
        if (exact := known.get((first, second))) is not None:
            return exact
        return known[View(first.modality), View(second.modality)]

    def _unlike(self, query: View, found: View) -> Estimate:
        """The threshold of two cameras, or else of their modalities."""
        known = {(mates.query, mates.searched): mates.unlike for mates in self.mates}
        general = known[View(query.modality), View(found.modality)]
        return known.get((query, found), general)

    def _judge(self, score: float, query: View, found: View, share: float) -> PairVerdict:
        if score >= self._strangers(query, found).at(share).high:
            return PairVerdict.SAME
        if score < self._unlike(query, found).low:
            return PairVerdict.DIFFERENT
        return PairVerdict.UNCERTAIN

    def _verdict(
        self,
        hits: Sequence[Hit],
        verdicts: Sequence[PairVerdict],
        query: View,
        images: Mapping[Modality, int],
    ) -> Verdict:
        if PairVerdict.SAME in verdicts:
            return Verdict.LIKELY
        if PairVerdict.UNCERTAIN in verdicts:
            return Verdict.UNCERTAIN
        if len(hits) < sum(images.values()):
            # An image that is not listed may be as similar as the last one that is, and come from
            # a camera of which less is asked.
            highest = hits[-1].score if hits else math.inf
            views = {mates.searched for mates in self.mates if images.get(mates.searched.modality)}
            if any(highest >= self._unlike(query, view).low for view in views):
                return Verdict.UNCERTAIN
        return Verdict.ABSENT

    def _note(self, query: Modality, images: Mapping[Modality, int], share: float) -> str:
        searched = [View(modality) for modality, number in images.items() if number]
        seen = max(self._strangers(View(query), view).seen for view in searched)
        if share >= seen:
            return ""
        return (
            f"Calibrated for searches among up to {self.false_match / seen:,.0f} images of "
            f"different people; this one counts as {self.false_match / share:,.0f}, so that its "
            "threshold is extrapolated."
        )


def _require_number(score: float) -> None:
    if not math.isfinite(score):
        raise GalleryError(
            f"The score {score} is no number; expected a cosine in [-1, 1]: run `vireid gallery "
            "verify` to find the damaged feature."
        )
