"""A result that says what it is: scores, the protocol they belong to, and what chance would give.

Example:
    >>> result = evaluate(descriptors, protocol, fingerprint=name)  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    >>> result.save(run / "result.json")  # doctest: +SKIP
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from vireid.errors import EvaluationError
from vireid.evaluation.chance import Chance
from vireid.files import write_atomic

__all__ = ["RANKS", "Result", "Statistic", "TrialScore", "table"]

RANKS = (1, 5, 10, 20)
_AT_CHANCE = 1.5  # mAP below this multiple of chance has learned nothing worth a table
_FORMAT = 1


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
        cmc: CMC, entry r - 1 is Rank-r.
        mean_ap: mAP.
        mean_inp: mINP.
        chance: The expected scores of a random ranking of the same trial.
    """

    queries: int
    gallery: int
    unmatched: int
    cmc: tuple[float, ...]
    mean_ap: float
    mean_inp: float
    chance: Chance


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of one protocol and all that is needed to compare them with others.

    Attributes:
        protocol: Data set and setting.
        direction: ``query to gallery``.
        convention: How the galleries were drawn.
        cmc_kind: Whether CMC counts identities or images.
        trials: The scores of each trial.
        descriptor_size: Numbers a descriptor has.
        weights_fingerprint: Fingerprint of the network's weights; empty when not told.
        data_fingerprint: SHA-256 of the images' names, identities and cameras and of the trials
            (not of the pixels).
        reranking: Re-ranking applied, ``none``.
        test_time_augmentation: Augmentation at test time, ``none``.
        about: What the caller knows of the run: method, backbone, weights, seed.
        versions: Versions of the software that computed the scores.
    """

    protocol: str
    direction: str
    convention: str
    cmc_kind: Literal["identity", "image"]
    trials: tuple[TrialScore, ...]
    descriptor_size: int
    weights_fingerprint: str = ""
    data_fingerprint: str = ""
    reranking: str = "none"
    test_time_augmentation: str = "none"
    about: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def cmc(self, rank: int) -> Statistic:
        """Rank-``rank``, from 1; beyond the stored curve, its last value."""
        return _over(t.cmc[min(rank, len(t.cmc)) - 1] for t in self.trials)

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
        return tuple(self.cmc(r + 1).mean for r in range(min(len(t.cmc) for t in self.trials)))

    @property
    def chance(self) -> Chance:
        """Expected scores of a random ranking, mean over the trials."""
        length = min(len(t.chance.cmc) for t in self.trials)
        return Chance(
            cmc=tuple(_over(t.chance.cmc[r] for t in self.trials).mean for r in range(length)),
            mean_ap=_over(t.chance.mean_ap for t in self.trials).mean,
            mean_inp=_over(t.chance.mean_inp for t in self.trials).mean,
        )

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
        first = self.trials[0]
        unmatched = sum(t.unmatched for t in self.trials)
        count = len(self.trials)
        lines = [
            f"{self.protocol}, {self.direction}",
            f"  {self.convention}; CMC by {self.cmc_kind}; "
            f"{count} trial{'s' if count > 1 else ''}; re-ranking {self.reranking}; "
            f"test-time augmentation {self.test_time_augmentation}",
            f"  {first.queries:,} queries ({_per_trial(unmatched, count)} without a match), "
            f"{first.gallery:,} gallery images, {self.descriptor_size}-d descriptors"
            + (f", weights {self.weights_fingerprint[:12]}" if self.weights_fingerprint else ""),
        ]
        if self.about:
            lines.append("  " + ", ".join(f"{key} {value}" for key, value in self.about.items()))
        lines += ["", table({"result": self})]
        lines += ["", *(_banner(self.statement) if self.at_chance else [self.statement])]
        return "\n".join(lines)

    def to_json(self) -> str:
        """All of the result as JSON text, the same bytes for the same result.

        The block ``summary`` is for reading, in percent; :meth:`from_json` computes it anew.
        """
        summary = {
            **{f"R-{rank}": _percent(self.cmc(rank)) for rank in RANKS},
            "mAP": _percent(self.mean_ap),
            "mINP": _percent(self.mean_inp),
            "chance": {
                "R-1": round(100 * self.chance.cmc[0], 2),
                "mAP": round(100 * self.chance.mean_ap, 2),
                "mINP": round(100 * self.chance.mean_inp, 2),
            },
            "at_chance": self.at_chance,
            "statement": self.statement,
        }
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "trials"}
        fields = {k: dict(v) if isinstance(v, Mapping) else v for k, v in fields.items()}
        trials = [asdict(trial) for trial in self.trials]
        whole = {"format": _FORMAT, "summary": summary, **fields, "trials": trials}
        return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

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
            trials = tuple(_trial(entry) for entry in whole.pop("trials"))
            result = cls(trials=trials, **whole)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"not a result of vireid: {error!r}") from error
        if version != _FORMAT or not trials:
            raise EvaluationError(
                f"a result of format {version!r} with {len(trials)} trials; expected format "
                f"{_FORMAT} with at least one: evaluate the run again with this version"
            )
        return result

    def save(self, path: Path) -> Path:
        """Write the JSON to ``path`` atomically."""
        return write_atomic(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved result.

        Raises:
            EvaluationError: The file is not a result.
            OSError: The file cannot be read.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (EvaluationError, UnicodeDecodeError) as error:
            raise EvaluationError(f"{path}: {error}") from error


def table(results: Mapping[str, Result]) -> str:
    """Several results of one protocol side by side, in percent, with chance beneath.

    Args:
        results: Result by row name.

    Returns:
        A Markdown table whose columns also line up as plain text.

    Raises:
        EvaluationError: No result, or results of different protocols, whose rows nobody should
            compare.
    """
    if not results:
        raise EvaluationError("a table needs at least one result")
    kinds = {(r.protocol, r.direction, r.convention, r.cmc_kind) for r in results.values()}
    if len(kinds) > 1:
        raise EvaluationError(
            f"one table of different protocols: {sorted(kinds)}; expected one protocol, direction "
            "and convention a table"
        )
    head = ["", *(f"R-{rank}" for rank in RANKS), "mAP", "mINP"]
    rows = [[name.replace("|", "\\|"), *cells(result)] for name, result in results.items()]
    rows.append(["chance", *chance_cells(next(iter(results.values())))])
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def cells(result: Result) -> list[str]:
    """R-1, R-5, R-10, R-20, mAP and mINP in percent, with ± deviation where trials > 1."""
    scores = [*(result.cmc(rank) for rank in RANKS), result.mean_ap, result.mean_inp]
    if len(result.trials) == 1:
        return [f"{100 * s.mean:.2f}" for s in scores]
    return [f"{100 * s.mean:.2f} ± {100 * s.std:.2f}" for s in scores]


def chance_cells(result: Result) -> list[str]:
    """The same columns for a random ranking."""
    chance = result.chance
    curve = [chance.cmc[min(rank, len(chance.cmc)) - 1] for rank in RANKS]
    return [f"{100 * score:.2f}" for score in [*curve, chance.mean_ap, chance.mean_inp]]


def _over(values: Iterable[float]) -> Statistic:
    listed = list(values)
    std = statistics.stdev(listed) if len(listed) > 1 else 0.0
    return Statistic(statistics.fmean(listed), std)


def _percent(statistic: Statistic) -> dict[str, float]:
    return {"mean": round(100 * statistic.mean, 2), "std": round(100 * statistic.std, 2)}


def _per_trial(total: int, trials: int) -> str:
    return f"{total / trials:,.4g}" if total % trials else f"{total // trials:,}"


def _banner(text: str) -> list[str]:
    bar = "!" * min(len(text) + 6, 100)
    return [bar, f"!! {text}", bar]


def _trial(entry: dict[str, Any]) -> TrialScore:
    chance = entry.pop("chance")
    return TrialScore(
        **{**entry, "cmc": tuple(entry["cmc"])},
        chance=Chance(**{**chance, "cmc": tuple(chance["cmc"])}),
    )
