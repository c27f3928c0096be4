"""Results: scores with the protocol they belong to, the conditions, and the chance level.

Example:
    >>> result = evaluate(features, protocol, fingerprint=name)  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    >>> result.save(run / "result.json")  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vireid.errors import EvaluationError, first_few, many
from vireid.evaluation.analysis import Details
from vireid.evaluation.bootstrap import METRICS, ByIdentity, Interval, Metric, interval, resample
from vireid.evaluation.chance import Chance
from vireid.evaluation.markdown import markdown_table
from vireid.files import write_atomic
from vireid.optional_packages import package

if TYPE_CHECKING:
    DataFrame: TypeAlias = Any  # pandas is optional, and has no types of its own

__all__ = ["OWN_DATA", "SCORES", "CmcKind", "Result", "Score", "Statistic", "TrialScore", "table"]

CmcKind = Literal["identity", "image"]
Score = Literal["R-1", "R-5", "R-10", "R-20", "mAP", "mINP"]
SCORES: tuple[Score, ...] = get_args(Score)
"""The columns of every table of scores."""
OWN_DATA = "trained on the data set"
"""The end of the kind of a result that is not direct transfer."""
_RANKS = (1, 5, 10, 20)
_AT_CHANCE = 1.5  # a mAP below this multiple of chance counts as chance level
_FORMAT = 4
_MAX_NAME = 120  # characters of a file name; file systems allow 255 bytes


class Statistic(NamedTuple):
    """A score in [0, 1]: mean and sample standard deviation (n - 1; 0 for one value)."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The statistic of some values, at least one."""
        listed = list(values)
        return cls(statistics.fmean(listed), statistics.stdev(listed) if len(listed) > 1 else 0.0)

    def percent(self, *, with_std: bool) -> str:
        """The mean in percent, followed by ± deviation on request."""
        return f"{100 * self.mean:.2f}" + (f" ± {100 * self.std:.2f}" if with_std else "")


@dataclass(frozen=True, slots=True)
class TrialScore:
    """The scores of one trial; every score in [0, 1].

    Attributes:
        queries: Number of queries.
        gallery: Number of gallery images.
        unmatched: Queries without a correct image after exclusion; not part of any mean.
        cmc_by_identity: CMC counted in identities; entry r - 1 is Rank-r.
        cmc_by_image: CMC counted in images; Rank-1 is the same in both.
        mean_ap: mAP.
        mean_inp: mINP.
        chance: The expected scores of a random ranking of the same trial.
        by_identity: Sums of the scores by query identity, for confidence intervals.
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
    """The scores of one protocol, with everything needed to compare them with others.

    Attributes:
        protocol: Data set and setting.
        direction: ``query to gallery``.
        convention: How the galleries were drawn.
        cmc_kind: Whether the protocol's CMC counts identities or images.
        trials: The scores of each trial.
        feature_size: Dimension of the features.
        similarity: How features were compared.
        query_expansion: Query expansion applied, ``none`` or its kind and parameters.
        reranking: Re-ranking applied, ``none`` or its kind and parameters.
        test_time_augmentation: Augmentation at test time, ``none`` or its kind.
        standardisation: Standardisation of the features, ``none`` or its statistics.
        weights_fingerprint: Fingerprint of the network's weights; empty when unknown.
        data_fingerprint: SHA-256 of the images' names, identities and cameras and of the trials
            (not of the pixels).
        unmatched: Names of the queries that lack a correct image in some trial.
        junk: Number of junk images left out.
        distractors: Number of distractors, which match no query.
        about: What the caller knows about the run: method, backbone, weights, seed.
        versions: Versions of the software that computed the scores.
        details: Analysis of the first trial; None unless requested.
        direct_transfer: Whether the network was trained on another data set.
        data: Name of the data set's folder or file, if these are not the test images of the data
            set that the network was trained on; else empty.
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
    standardisation: str = "none"
    weights_fingerprint: str = ""
    data_fingerprint: str = ""
    unmatched: tuple[str, ...] = ()
    junk: int = 0
    distractors: int = 0
    about: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    details: Details | None = None
    direct_transfer: bool = False
    data: str = ""

    @property
    def kind(self) -> tuple[str, ...]:
        """What two results must share to be comparable.

        Protocol, direction, convention, kind of CMC, and whether the networks were trained on the
        data set or on others.
        """
        training = "direct transfer" if self.direct_transfer else OWN_DATA
        return (self.protocol, self.direction, self.convention, self.cmc_kind, training)

    @property
    def heading(self) -> str:
        """Protocol, direction, and whether it is direct transfer."""
        transfer = ", direct transfer" if self.direct_transfer else ""
        return f"{self.protocol}, {self.direction}{transfer}"

    @property
    def data_id(self) -> str:
        """Name and short fingerprint of the images, where they are not the training's own."""
        return f"{self.data} {self.data_fingerprint[:8]}" if self.data else ""

    @property
    def flags(self) -> dict[str, str]:
        """Post-processing by name; ``none`` where it was not applied."""
        return {
            "query expansion": self.query_expansion,
            "re-ranking": self.reranking,
            "test-time augmentation": self.test_time_augmentation,
            "standardisation": self.standardisation,
        }

    @property
    def post_processing(self) -> list[str]:
        """Names of the post-processing that was applied."""
        return [
            f"transductive {name}" if "transductive" in kind else name
            for name, kind in self.flags.items()
            if kind != "none"
        ]

    @property
    def slug(self) -> str:
        """A file name that distinguishes this result from others of the same network.

        Lower-case letters, digits and hyphens, at most 120; the part of the convention in
        parentheses is left out. Images that are not those of the training's data set are named.
        """
        compared = [] if self.similarity == "cosine" else [self.similarity]
        convention = self.convention.split("(")[0]
        # Statistics of other images give another result.
        statistics = hashlib.sha256(self.standardisation.encode()).hexdigest()[:8]
        standardised = [] if self.standardisation == "none" else [statistics]
        text = " ".join(
            [
                self.protocol,
                self.direction,
                convention,
                *compared,
                *self.post_processing,
                *standardised,
            ]
        )
        data = f"direct transfer {self.data_id}" if self.direct_transfer else self.data_id
        tail = _slug(data)[-_MAX_NAME // 2 :].strip("-")
        head = _slug(text)[: _MAX_NAME - len(tail) - bool(tail)].strip("-")
        return "-".join(filter(None, (head, tail))) or "result"

    def labelled(self, name: str) -> str:
        """A name followed by the post-processing that was applied."""
        used = self.post_processing
        return f"{name} (with {', '.join(used)})" if used else name

    @property
    def title(self) -> str:
        """The heading and the post-processing that was applied."""
        return self.labelled(self.heading)

    def cmc(self, rank: int, kind: CmcKind | None = None) -> Statistic:
        """Rank-``rank``, from 1, by default in the protocol's kind of CMC.

        Beyond the stored curve, its last value.
        """
        curves = [t.cmc(kind or self.cmc_kind) for t in self.trials]
        return Statistic.of(curve[min(rank, len(curve)) - 1] for curve in curves)

    @property
    def mean_ap(self) -> Statistic:
        """The mAP: mean and deviation over the trials."""
        return Statistic.of(t.mean_ap for t in self.trials)

    @property
    def mean_inp(self) -> Statistic:
        """The mINP: mean and deviation over the trials."""
        return Statistic.of(t.mean_inp for t in self.trials)

    @property
    def scores(self) -> dict[Score, Statistic]:
        """R-1, R-5, R-10, R-20, mAP and mINP: mean and deviation over the trials."""
        found = [*(self.cmc(rank) for rank in _RANKS), self.mean_ap, self.mean_inp]
        return dict(zip(SCORES, found, strict=True))

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
            cmc=tuple(
                Statistic.of(t.chance.cmc[r] for t in self.trials).mean for r in range(length)
            ),
            mean_ap=Statistic.of(t.chance.mean_ap for t in self.trials).mean,
            mean_inp=Statistic.of(t.chance.mean_inp for t in self.trials).mean,
        )

    def interval(self, metric: Metric) -> Interval | None:
        """The 95 % confidence interval over identities; None where there is only one identity.

        It covers the choice of people (see :mod:`vireid.evaluation.bootstrap`), not that of
        training seed or cameras.
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
    def versus_chance(self) -> str:
        """One sentence that compares mAP with the chance level."""
        mean_ap, chance = 100 * self.mean_ap.mean, 100 * self.chance.mean_ap
        if self.at_chance:
            return (
                f"AT CHANCE LEVEL: mAP {mean_ap:.2f} %, a random ranking scores {chance:.2f} %. "
                "This network does not recognise people across modalities."
            )
        return f"mAP is {mean_ap / chance:.1f} times that of a random ranking ({chance:.2f} %)."

    def cells(self) -> list[str]:
        """The scores in percent, with ± deviation where there are several trials."""
        return [s.percent(with_std=len(self.trials) > 1) for s in self.scores.values()]

    def chance_cells(self) -> list[str]:
        """The scores of a random ranking, in percent."""
        chance = self.chance
        curve = [chance.cmc[min(rank, len(chance.cmc)) - 1] for rank in _RANKS]
        return [f"{100 * score:.2f}" for score in [*curve, chance.mean_ap, chance.mean_inp]]

    def conditions(self) -> list[str]:
        """What must be known to compare the scores with others, one sentence each."""
        first, count = self.trials[0], len(self.trials)
        flags = "; ".join(f"{name} {kind}" for name, kind in self.flags.items())
        trained_on = self.about.get("trained on", "another data set")
        lines = [
            *([f"direct transfer, trained on {trained_on}"] if self.direct_transfer else []),
            f"{self.convention}; CMC by {self.cmc_kind}; {many(count, 'trial')}",
            f"{self.similarity} similarity; {flags}",
            f"{many(first.queries, 'query', 'queries')}, {many(first.gallery, 'gallery image')}, "
            f"{self.feature_size}-d features"
            + (f", weights {self.weights_fingerprint[:12]}" if self.weights_fingerprint else ""),
        ]
        if self.data:
            lines.append(f"images of '{self.data}' (fingerprint {self.data_fingerprint[:8]})")
        if self.junk or self.distractors:
            lines.append(
                f"{many(self.junk, 'junk image')} left out,"
                f" {many(self.distractors, 'distractor')}, which match no query"
            )
        if self.unmatched:
            each = sum(t.unmatched for t in self.trials) / count
            lines.append(
                f"{each:,.4g} queries a trial have no match in the gallery and are left out: "
                + first_few(self.unmatched)
            )
        if self.about:
            lines.append(", ".join(f"{key} {value}" for key, value in self.about.items()))
        return lines

    def __str__(self) -> str:
        """The conditions, the table with chance, the intervals, and mAP against chance."""
        other: CmcKind = "image" if self.cmc_kind == "identity" else "identity"
        curve = ", ".join(f"R-{rank} {100 * self.cmc(rank, other).mean:.2f}" for rank in _RANKS)
        lines = [
            self.heading,
            *(f"  {line}" for line in self.conditions()),
            "",
            table({"result": self}),
            "",
            f"CMC by {other}: {curve}.",
        ]
        found = {metric: self.interval(metric) for metric in METRICS}
        ends = [f"{m} {100 * i.low:.2f} to {100 * i.high:.2f}" for m, i in found.items() if i]
        if ends:
            lines.append(f"95 % interval over identities (bootstrap): {', '.join(ends)}.")
        text = self.versus_chance
        if self.at_chance:
            bar = "!" * min(len(text) + 6, 100)
            return "\n".join([*lines, bar, f"!! {text}", bar])
        return "\n".join([*lines, text])

    def to_frame(self) -> DataFrame:
        """The scores of each trial in [0, 1] as a pandas DataFrame, with the chance level.

        The index is ``trial 1`` to ``trial n`` and ``chance``, the columns are R-1, R-5, R-10,
        R-20, mAP and mINP; protocol, direction and conditions are in ``attrs``.

        Raises:
            ExportError: pandas is not installed.
        """
        pandas = package("pandas", extra="pandas")
        single = [replace(self, trials=(trial,)).scores for trial in self.trials]
        rows = {
            f"trial {number}": {name: score.mean for name, score in scores.items()}
            for number, scores in enumerate(single, 1)
        }
        chance = self.chance
        curve = [chance.cmc[min(rank, len(chance.cmc)) - 1] for rank in _RANKS]
        random = [*curve, chance.mean_ap, chance.mean_inp]
        rows["chance"] = dict(zip(SCORES, random, strict=True))
        frame = pandas.DataFrame.from_dict(rows, orient="index")
        frame.attrs = {
            "protocol": self.protocol,
            "direction": self.direction,
            "conditions": self.conditions(),
        }
        return frame

    def _repr_html_(self) -> str:
        """The table of a notebook: scores in percent, the chance level and the conditions."""
        rows = [["", *SCORES], ["result", *self.cells()], ["chance", *self.chance_cells()]]
        head, *body = (
            "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
            for row, tag in zip(rows, ("th", "td", "td"), strict=True)
        )
        lines = [*self.conditions(), self.versus_chance]
        return (
            f"<p><b>{escape(self.title)}</b></p>"
            f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
            f"<p><small>{'<br>'.join(map(escape, lines))}</small></p>"
        )

    def to_json(self) -> str:
        """The result as JSON text; equal results give equal bytes.

        The block ``summary``, in percent, is for readers; :meth:`from_json` ignores it.
        """
        intervals = {metric: self.interval(metric) for metric in METRICS}
        summary: dict[str, Any] = {
            **{
                name: {"mean": round(100 * score.mean, 2), "std": round(100 * score.std, 2)}
                for name, score in self.scores.items()
            },
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
            "versus_chance": self.versus_chance,
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
        """Parse the output of :meth:`to_json`.

        Raises:
            EvaluationError: The text is not a result, or has another format version.
        """
        try:
            whole: dict[str, Any] = json.loads(text)
            version = whole.pop("format")
            whole.pop("summary")
            if version != _FORMAT:
                raise EvaluationError(
                    f"a result of format {version!r}; expected format {_FORMAT}: evaluate the run "
                    "again with this version"
                )
            result = TypeAdapter(cls).validate_python(whole)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise EvaluationError(
                f"not a result of vireid: '{place}': {first['msg']}; evaluate the run again"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"not a result of vireid: {error!r}") from error
        if not result.trials:
            raise EvaluationError("a result with 0 trials; expected one or more")
        return result

    def file_in(self, folder: Path) -> Path:
        """The file of this result in a folder, which replaces only a result on the same images.

        Args:
            folder: The folder.

        Returns:
            A file named by :attr:`slug`, and by the images, identities and roles too where another
            result has that name.
        """
        file = folder / f"{self.slug}.json"
        try:
            taken = file.exists() and self.load(file).data_fingerprint != self.data_fingerprint
        except EvaluationError:  # of an earlier version, or damaged
            taken = False
        return folder / f"{self.slug}-{self.data_fingerprint[:8]}.json" if taken else file

    def save(self, path: Path) -> Path:
        """Write the JSON to ``path`` atomically, and return ``path``."""
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


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def table(results: Mapping[str, Result]) -> str:
    """Format results of one protocol as a Markdown table, in percent, with the chance level.

    Post-processing is named in the first column.

    Args:
        results: Result by row name.

    Raises:
        EvaluationError: There is no result, or the protocols differ.
    """
    if not results:
        raise EvaluationError("a table needs at least one result")
    kinds = {result.kind for result in results.values()}
    if len(kinds) > 1:
        raise EvaluationError(
            f"one table of different protocols: {sorted(kinds)}; expected one protocol, direction "
            "and convention a table"
        )
    lines = [
        ["", *SCORES],
        *([result.labelled(name), *result.cells()] for name, result in results.items()),
        ["chance", *next(iter(results.values())).chance_cells()],
    ]
    return markdown_table(lines, left=1)
