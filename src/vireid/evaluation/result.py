"""A result that says what it is: scores, the protocol they belong to, and what chance would give.

Example:
    >>> result = evaluate(features, protocol, fingerprint=name)  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    >>> result.save(run / "result.json")  # doctest: +SKIP
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict, TypeAdapter

from vireid.errors import EvaluationError
from vireid.evaluation.analysis import Details
from vireid.evaluation.bootstrap import METRICS, ByIdentity, Interval, Metric, interval, resample
from vireid.evaluation.chance import Chance
from vireid.files import write_atomic

__all__ = ["RANKS", "CmcKind", "Result", "Statistic", "TrialScore"]

CmcKind = Literal["identity", "image"]
RANKS = (1, 5, 10, 20)
_AT_CHANCE = 1.5  # mAP below this multiple of chance has learned nothing worth a table
_FORMAT = 2
_LONGEST = 120  # of a file's name, in letters; file systems allow 255 bytes


class Statistic(NamedTuple):
    """A score in [0, 1]: mean over trials and sample deviation (n - 1; 0 for one trial)."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class TrialScore:
    """The scores of one trial; every score in [0, 1].

    Attributes:
        queries: Number of queries.
        gallery: Number of gallery images.
        unmatched: Queries without a correct image after exclusion; left out of every mean.
        cmc_by_identity: CMC counted in identities, entry r - 1 is Rank-r.
        cmc_by_image: CMC counted in images; Rank-1 is the same in both.
        mean_ap: mAP.
        mean_inp: mINP.
        chance: The expected scores of a random ranking of the same trial.
        by_identity: What each identity's queries scored, for confidence intervals.
    """

    queries: int
    gallery: int
    unmatched: int
    cmc_by_identity: tuple[float, ...]
    cmc_by_image: tuple[float, ...]
    mean_ap: float
    mean_inp: float
    chance: Chance
    by_identity: ByIdentity

    def cmc(self, kind: CmcKind) -> tuple[float, ...]:
        """The CMC of one kind."""
        return self.cmc_by_identity if kind == "identity" else self.cmc_by_image


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of one protocol and all that is needed to compare them with others.

    Attributes:
        protocol: Data set and setting.
        direction: ``query to gallery``.
        convention: How the galleries were drawn.
        cmc_kind: Whether the protocol's CMC counts identities or images.
        trials: The scores of each trial.
        feature_size: Numbers a feature has.
        similarity: How features were compared.
        query_expansion: Query expansion applied, ``none`` or its kind and parameters.
        reranking: Re-ranking applied, ``none`` or its kind and parameters.
        test_time_augmentation: Augmentation at test time, ``none`` or its kind.
        weights_fingerprint: Fingerprint of the network's weights; empty when not told.
        data_fingerprint: SHA-256 of the images' names, identities and cameras and of the trials
            (not of the pixels).
        unmatched: Names of the queries that lack a correct image in some trial.
        about: What the caller knows of the run: method, backbone, weights, seed.
        versions: Versions of the software that computed the scores.
        details: A closer look at the first trial; None where it was not asked for.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    protocol: str
    direction: str
    convention: str
    cmc_kind: CmcKind
    trials: tuple[TrialScore, ...]
    feature_size: int
    similarity: str = "cosine"
    query_expansion: str = "none"
    reranking: str = "none"
    test_time_augmentation: str = "none"
    weights_fingerprint: str = ""
    data_fingerprint: str = ""
    unmatched: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    details: Details | None = None

    @property
    def kind(self) -> tuple[str, ...]:
        """What two results must share to be comparable: protocol, direction, convention, CMC."""
        return (self.protocol, self.direction, self.convention, self.cmc_kind)

    @property
    def flags(self) -> dict[str, str]:
        """What was done to the ranking or the features, by name; ``none`` where nothing was."""
        return {
            "query expansion": self.query_expansion,
            "re-ranking": self.reranking,
            "test-time augmentation": self.test_time_augmentation,
        }

    @property
    def slug(self) -> str:
        """A file name that tells this result from the others of the same network.

        Small letters, digits and hyphens only, at most 120; what the convention has in brackets is
        left out.
        """
        used = [name for name, kind in self.flags.items() if kind != "none"]
        compared = [] if self.similarity == "cosine" else [self.similarity]
        convention = self.convention.split("(")[0]
        text = " ".join([self.protocol, self.direction, convention, *compared, *used])
        words = re.findall(r"[a-z0-9]+", text.lower())
        return "-".join(words)[:_LONGEST].strip("-") or "result"

    def cmc(self, rank: int, kind: CmcKind | None = None) -> Statistic:
        """Rank-``rank``, from 1, in the protocol's kind; beyond the stored curve its last value."""
        curves = [t.cmc(kind or self.cmc_kind) for t in self.trials]
        return _over(curve[min(rank, len(curve)) - 1] for curve in curves)

    @property
    def mean_ap(self) -> Statistic:
        """The mAP: mean and deviation over the trials."""
        return _over(t.mean_ap for t in self.trials)

    @property
    def mean_inp(self) -> Statistic:
        """The mINP: mean and deviation over the trials."""
        return _over(t.mean_inp for t in self.trials)

    @property
    def curve(self) -> tuple[float, ...]:
        """Mean CMC over the trials; entry r - 1 is Rank-r."""
        length = min(len(t.cmc(self.cmc_kind)) for t in self.trials)
        return tuple(self.cmc(r + 1).mean for r in range(length))

    @property
    def chance(self) -> Chance:
        """Expected scores of a random ranking, mean over the trials."""
        length = min(len(t.chance.cmc) for t in self.trials)
        return Chance(
            cmc=tuple(_over(t.chance.cmc[r] for t in self.trials).mean for r in range(length)),
            mean_ap=_over(t.chance.mean_ap for t in self.trials).mean,
            mean_inp=_over(t.chance.mean_inp for t in self.trials).mean,
        )

    def interval(self, metric: Metric) -> Interval | None:
        """The 95 % confidence interval over identities; None where there is only one identity.

        It tells what other people of the same kind would have changed (see
        :mod:`vireid.evaluation.bootstrap`), not another training or other cameras.
        """
        trials = [t.by_identity for t in self.trials]
        if len({i for t in trials for i in t.identity}) < 2:
            return None
        return interval(resample([trials], metric)[:, 0])

    @property
    def at_chance(self) -> bool:
        """Whether mAP is below 1.5 times that of a random ranking."""
        return self.mean_ap.mean < _AT_CHANCE * self.chance.mean_ap

    @property
    def statement(self) -> str:
        """One sentence on where the result stands against chance."""
        mean_ap, chance = 100 * self.mean_ap.mean, 100 * self.chance.mean_ap
        if self.at_chance:
            return (
                f"AT CHANCE LEVEL: mAP {mean_ap:.2f} %, a random ranking scores {chance:.2f} %. "
                "This network does not tell people apart across modalities."
            )
        return f"mAP is {mean_ap / chance:.1f} times that of a random ranking ({chance:.2f} %)."

    def __str__(self) -> str:
        """The field's table with its conditions above it and chance beneath."""
        from vireid.evaluation.table import page  # the table reads results, and a result prints it

        return page(self)

    def to_json(self) -> str:
        """All of the result as JSON text, the same bytes for the same result.

        The block ``summary`` is for reading, in percent; :meth:`from_json` computes it anew.
        """
        intervals = {metric: self.interval(metric) for metric in METRICS}
        summary = {
            **{f"R-{rank}": _percent(self.cmc(rank)) for rank in RANKS},
            "mAP": _percent(self.mean_ap),
            "mINP": _percent(self.mean_inp),
            "interval_95": {
                metric: [round(100 * end, 2) for end in found]
                for metric, found in intervals.items()
                if found
            },
            "chance": {
                "R-1": round(100 * self.chance.cmc[0], 2),
                "mAP": round(100 * self.chance.mean_ap, 2),
                "mINP": round(100 * self.chance.mean_inp, 2),
            },
            "at_chance": self.at_chance,
            "statement": self.statement,
        }
        # Not asdict of the whole: it would deep-copy mappings, which need not be copyable.
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plain |= {
            "trials": [asdict(trial) for trial in self.trials],
            "about": dict(self.about),
            "versions": dict(self.versions),
            "details": asdict(self.details) if self.details else None,
        }
        whole = {"format": _FORMAT, "summary": summary, **plain}
        return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            EvaluationError: The text is not a result, or one of another version.
        """
        try:
            whole: dict[str, Any] = json.loads(text)
            version = whole.pop("format")
            whole.pop("summary")
            if version == _FORMAT:
                result = TypeAdapter(cls).validate_python(whole)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"not a result of vireid: {error!r}") from error
        if version != _FORMAT or not result.trials:
            raise EvaluationError(
                f"a result of format {version!r} with {len(whole['trials'])} trials; expected "
                f"format {_FORMAT} with at least one: evaluate the run again with this version"
            )
        return result

    def save(self, path: Path) -> Path:
        """Write the JSON to ``path`` atomically."""
        return write_atomic(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved result.

        Raises:
            EvaluationError: The file is not a result, or cannot be read.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (EvaluationError, UnicodeDecodeError, OSError) as error:
            raise EvaluationError(f"'{path}' cannot be read: {error}") from error


def _over(values: Iterable[float]) -> Statistic:
    listed = list(values)
    std = statistics.stdev(listed) if len(listed) > 1 else 0.0
    return Statistic(statistics.fmean(listed), std)


def _percent(statistic: Statistic) -> dict[str, float]:
    return {"mean": round(100 * statistic.mean, 2), "std": round(100 * statistic.std, 2)}
