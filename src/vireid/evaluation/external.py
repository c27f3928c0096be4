"""Features computed by any network, as arrays or ``.npz`` files.

- *As given*: features of queries and of a gallery, scored as they are, in one trial
  (:func:`score_features`).
- *By name*: features of a data set, found by image name, so that all published draws can be scored
  (:func:`match_names`).

An ``.npz`` file, as written by ``np.savez``, holds ``features`` ``[n, d]`` and, one entry per row
and as needed, ``identities`` (integers), ``cameras`` (integers), ``names`` (text) and, for
standardisation only, ``modalities`` (text).

    >>> query = ExternalFeatures(np.array([[2.0, 1.0], [1.0, 3.0]]), identities=np.array([7, 8]))
    >>> gallery = ExternalFeatures(np.array([[0.0, 1.0], [1.0, 0.0]]), identities=np.array([8, 7]))
    >>> score_features(query, gallery).mean_ap.mean
    1.0
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from vireid.data.file_kind import mistaken_for
from vireid.data.layouts.sysu_mm01 import CAMERAS
from vireid.data.rows import MODALITIES
from vireid.errors import ConfigError, EvaluationError, first_few
from vireid.evaluation.protocol import Protocol, convention_as_given, with_roles
from vireid.evaluation.protocols import SUFFIX, SYSU_SAME_ROOM, GalleryModality, direction
from vireid.evaluation.ranking import Ranking
from vireid.evaluation.result import CmcKind, Result
from vireid.evaluation.scoring import evaluate
from vireid.types import Features, ImageRecord, Modality

__all__ = ["ABOUT", "ExternalFeatures", "ProtocolName", "match_names", "score_features"]

ProtocolName = Literal["plain", "sysu-mm01", "regdb", "llcm"]
"""The protocol whose rules apply to features as given."""

ABOUT: Mapping[str, str] = {"features": "as given by the caller"}
"""Facts for results of features whose network is unknown."""

_SAVE = (
    "save it by np.savez(FILE, features=np.asarray(features, np.float32), "
    "identities=np.asarray(identities, np.int64), names=np.asarray(names, str))"
)
_ARRAYS = ("features", "identities", "cameras", "names", "modalities")


@dataclass(frozen=True, slots=True, eq=False)
class ExternalFeatures:
    """Features of images, and what is known about the images, row by row.

    Attributes:
        values: Features ``[n, d]`` of any numeric type and norm; converted to float32.
        identities: Identity of each image, integers ``[n]``.
        cameras: Camera of each image, integers ``[n]``, numbered as in the data set; negative if
            unknown.
        names: File name of each image, ``n`` strings.
        source: Origin of the features, for messages.
        modalities: Modality of each image, ``n`` keys of :data:`~vireid.data.rows.MODALITIES`;
            needed only where the features standardise others.

    Raises:
        EvaluationError: An array has the wrong shape or type.
    """

    values: NDArray[np.floating]
    identities: NDArray[np.integer] | None = None
    cameras: NDArray[np.integer] | None = None
    names: Sequence[str] | None = None
    source: str = "the caller's arrays"
    modalities: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _matrix(self.values, self.source))
        for name in _ARRAYS[1:]:
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, self._column(name, np.asarray(given)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an ``.npz`` file; nothing is unpickled.

        Args:
            path: A file with ``features`` and, as needed, ``identities``, ``cameras`` and
                ``names``. Other arrays are ignored.

        Raises:
            EvaluationError: The file is missing, damaged or not an ``.npz``, contains Python
                objects, or its arrays do not match.
        """
        path = Path(path)
        if not path.is_file():
            raise EvaluationError(f"'{path}' is not a file; expected an .npz file with features")
        try:
            # Opened here, because numpy leaves damaged archives open.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                kept = [name for name in _ARRAYS if name in file]
                found = {name: file[name] for name in kept}
                present = file.files
        except Exception as error:  # numpy raises various errors for damaged files
            raise EvaluationError(
                mistaken_for("an .npz file with features", path)
                or f"'{path}' is damaged, not an .npz file, or contains Python objects, which are "
                f"never unpickled ({type(error).__name__}); expected plain arrays: {_SAVE}"
            ) from error
        if "features" not in found:
            raise EvaluationError(
                f"'{path}' has no array 'features' but {first_few(present)}; expected features "
                f"and, as needed, identities, cameras and names: {_SAVE}"
            )
        return cls(found.pop("features"), **found, source=f"'{path}'")

    def known_modalities(self) -> list[Modality]:
        """The modality of each image.

        Raises:
            EvaluationError: A modality is missing or unknown.
        """
        names = [name.lower() for name in self.modalities or ("",)]
        if unknown := [name for name in names if name not in MODALITIES]:
            raise EvaluationError(
                f"the modality '{unknown[0]}' in {self.source}; expected an array 'modalities' "
                f"with one of {', '.join(MODALITIES)} for each row of the features"
            )
        return [MODALITIES[name] for name in names]

    def as_unlabelled(self) -> Features:
        """The features with records of their modality and camera, to standardise others.

        Raises:
            EvaluationError: A modality is missing or unknown.
        """
        modalities = self.known_modalities()
        cameras = [-1] * len(modalities) if self.cameras is None else self.cameras.tolist()
        records = tuple(
            ImageRecord(Path(f"{row}"), -1, 0, modality, camera_name=_camera_name(camera))
            for row, (modality, camera) in enumerate(zip(modalities, cameras, strict=True))
        )
        return Features(self.values.astype(np.float32, copy=False), records)

    def _column(self, name: str, given: NDArray[np.generic]) -> NDArray[np.int64] | tuple[str, ...]:
        kinds, expected = ("US", "texts") if name in ("names", "modalities") else ("iu", "integers")
        if given.dtype.kind not in kinds or given.shape != (len(self.values),):
            raise EvaluationError(
                f"{name} of type {given.dtype} and shape {given.shape} in {self.source}; expected "
                f"{len(self.values)} {expected}, one for each row of the features"
            )
        if kinds == "US":
            return tuple(os.fsdecode(text) for text in given.tolist())
        return given.astype(np.int64)


def score_features(
    query: ExternalFeatures,
    gallery: ExternalFeatures,
    *,
    protocol: ProtocolName = "plain",
    cmc: CmcKind | None = None,
    exclude_own_camera: bool = False,
    junk: Sequence[int | str] = (),
    distractors: Sequence[int | str] = (),
    query_modality: Modality | None = None,
    gallery_modality: GalleryModality = "other",
    ranking: Ranking | None = None,
    augmentation: str = "none",
    standardise: Callable[[Features], Features] | None = None,
) -> Result:
    """Score query features against gallery features as given, in one trial.

    Args:
        query: Features of the queries, with identities.
        gallery: Features of the gallery, with the same numbering of identities.
        protocol: Determines the exclusion and the CMC. ``sysu-mm01``: excludes images of camera 2
            for queries of camera 3, CMC by identity. ``llcm``: excludes the query's identity in
            the query's camera, CMC by identity. ``regdb`` and ``plain``: no exclusion, CMC by
            image.
        cmc: What CMC counts; ``plain`` only.
        exclude_own_camera: Exclude the query's identity in the query's camera; ``plain`` only.
        junk: Identities whose images are ignored, such as -1 in Market-1501.
        distractors: Identities whose images remain in the gallery but match no query, such as 0 in
            Market-1501.
        query_modality: If given, the result names its direction, such as ``infrared to visible``,
            the only one of SYSU-MM01.
        gallery_modality: ``plain`` only: ``own`` (with ``query_modality``) or ``both`` (with the
            modalities of all features), which exclude the query's identity in the query's camera.
        ranking: How the gallery is ranked; by cosine similarity by default.
        augmentation: Test-time augmentation of the features, for the result.
        standardise: Standardises all features before they are scored.

    Raises:
        ConfigError: Options contradict one another.
        EvaluationError: Query and gallery do not match, identities or needed cameras are missing, a
            camera is not one of SYSU-MM01's, or as :func:`~vireid.evaluation.scoring.evaluate`.
    """
    if gallery_modality != "other":
        if protocol != "plain":
            raise ConfigError(
                f"--gallery-modality {gallery_modality} does not go with --protocol {protocol} and "
                "features as given; use --protocol plain, or --layout and --root."
            )
        if gallery_modality == "own" and query_modality is None:
            raise ConfigError(
                "--gallery-modality own is the modality of the queries, which is unknown; add "
                "--query-modality."
            )
        exclude_own_camera = True
    rules = _rules(protocol, cmc, exclude_own_camera=exclude_own_camera)
    _require_one_dimension([query, gallery])
    if protocol == "sysu-mm01":
        _require_sysu(query, gallery, query_modality)
        query_modality = Modality.INFRARED
    # A record needs a modality; if it is unknown, no score depends on it.
    modality = query_modality or Modality.INFRARED
    of_queries, of_gallery = {
        "other": lambda: ([modality] * len(query.values), [modality.other] * len(gallery.values)),
        "own": lambda: ([modality] * len(query.values), [modality] * len(gallery.values)),
        "both": lambda: (query.known_modalities(), gallery.known_modalities()),
    }[gallery_modality]()
    # Camera 0 of a record is unknown, so a numbering from 0 is shifted.
    first_is_0 = any(f.cameras is not None and 0 in f.cameras for f in (query, gallery))
    records = partial(_records, needs_cameras=rules.need_cameras, first_is_0=first_is_0)
    queries, images = with_roles(
        records("query", query, of_queries),
        records("gallery", gallery, of_gallery),
        junk=junk,
        distractors=distractors,
    )
    given = Protocol.of(
        [(queries, images)],
        name=f"{rules.name}{SUFFIX[gallery_modality]}",
        direction=_direction(of_queries, gallery_modality, known=query_modality is not None),
        convention=convention_as_given([*queries, *images], excludes_own_camera=exclude_own_camera),
        cmc=rules.cmc,
        excluded_cameras=rules.excluded_cameras,
        excludes_own_camera=rules.excludes_own_camera,
    )
    values = np.concatenate([query.values, gallery.values]).astype(np.float32, copy=False)
    features = Features(values, (*queries, *images), augmentation=augmentation)
    if standardise:
        features = standardise(features)
    return evaluate(features, given, ranking=ranking, about=ABOUT)


def _direction(queries: Sequence[Modality], gallery: GalleryModality, *, known: bool) -> str:
    if gallery == "both":
        return f"{' and '.join(m for m in Modality if m in queries)} to both"
    return direction(queries[0], gallery) if known else "query to gallery"


def match_names(
    files: Sequence[ExternalFeatures], protocols: Sequence[Protocol], root: Path
) -> Features:
    """Find the features of the images of protocols by name.

    Args:
        files: Features with names, which are image paths relative to ``root``. Other images are
            ignored.
        protocols: The protocols.
        root: The folder that names are relative to.

    Raises:
        EvaluationError: Names are missing, an image has no feature, identities differ from the
            data set's, or features differ in dimension.
    """
    _require_one_dimension(files)
    needed = {record.path: record for protocol in protocols for record in protocol.records}
    values, records = [], []
    for features in files:
        if features.names is None:
            raise EvaluationError(
                f"no names in {features.source}; expected the path of each image relative to "
                f"'{root}': {_SAVE}"
            )
        rows = []
        for row, name in enumerate(features.names):
            if record := needed.get(root / name):
                _require_same_identity(features, row, record)
                rows.append(row)
                records.append(record)
        values.append(features.values[rows])
    missing = sorted(needed.keys() - {record.path for record in records})
    if missing:
        names = [name for features in files for name in features.names or ()]
        raise EvaluationError(
            f"no features of {len(missing):,} of the {len(needed):,} images needed: "
            f"{first_few(missing)}; the names given are {first_few(names)}; expected the path of "
            f"every needed image relative to '{root}'"
        )
    joined = np.concatenate(values).astype(np.float32, copy=False)
    return Features(joined, tuple(records))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """Exclusion rules and CMC of a protocol."""

    name: str
    cmc: CmcKind
    excluded_cameras: tuple[tuple[int, int], ...] = ()
    excludes_own_camera: bool = False

    @property
    def need_cameras(self) -> bool:
        return bool(self.excluded_cameras) or self.excludes_own_camera


_RULES: Mapping[ProtocolName, _Rules] = {
    "plain": _Rules(name="Own data", cmc="image"),
    "sysu-mm01": _Rules(name="SYSU-MM01", cmc="identity", excluded_cameras=SYSU_SAME_ROOM),
    "regdb": _Rules(name="RegDB", cmc="image"),
    "llcm": _Rules(name="LLCM", cmc="identity", excludes_own_camera=True),
}


def _rules(protocol: ProtocolName, cmc: CmcKind | None, *, exclude_own_camera: bool) -> _Rules:
    if protocol not in _RULES:
        raise ConfigError(
            f"--protocol '{protocol}' is not known; expected one of {', '.join(_RULES)}."
        )
    rules = _RULES[protocol]
    if protocol == "plain":
        return replace(rules, cmc=cmc or rules.cmc, excludes_own_camera=exclude_own_camera)
    if cmc or exclude_own_camera:
        option = f"--cmc {cmc}" if cmc else "--exclude-own-camera"
        raise ConfigError(
            f"{option} does not go with --protocol {protocol}, which has its own rules; remove it, "
            "or use --protocol plain."
        )
    return rules


def _require_sysu(
    query: ExternalFeatures, gallery: ExternalFeatures, modality: Modality | None
) -> None:
    """Refuse cameras that SYSU-MM01 does not have; they would exclude the wrong images."""
    if modality is Modality.VISIBLE:
        raise ConfigError(
            "--query-modality visible does not go with --protocol sysu-mm01, whose queries are "
            "infrared; remove it, or use --protocol plain."
        )
    for side, features, kind in (
        ("query", query, Modality.INFRARED),
        ("gallery", gallery, Modality.VISIBLE),
    ):
        known = [camera for camera, sees in CAMERAS.items() if sees is kind]
        odd = sorted({*_given(features.cameras, "cameras", features, side).tolist()} - {*known})
        if odd:
            raise EvaluationError(
                f"camera {odd[0]} in {features.source} ({side}); expected the {kind} cameras "
                f"{', '.join(map(str, known))} of SYSU-MM01, numbered as in its folders"
            )


def _records(
    side: str,
    features: ExternalFeatures,
    modalities: Sequence[Modality],
    *,
    needs_cameras: bool,
    first_is_0: bool,
) -> tuple[ImageRecord, ...]:
    """Records of images that need not exist; those without names are numbered."""
    count = len(features.values)
    names = features.names or [f"{row:06d}" for row in range(count)]
    identities = _given(features.identities, "identities", features, side).tolist()
    cameras, camera_names = [0] * count, [""] * count
    if needs_cameras or features.cameras is not None:
        given = _given(features.cameras, "cameras", features, side)
        cameras = np.where(given < 0, 0, given + first_is_0).tolist()
        camera_names = list(map(_camera_name, given.tolist()))
    return tuple(
        ImageRecord(Path(f"{side}/{name}"), identity, camera, modality, camera_name=camera_name)
        for name, identity, camera, modality, camera_name in zip(
            names, identities, cameras, modalities, camera_names, strict=True
        )
    )


def _camera_name(number: int) -> str:
    return "" if number < 0 else str(number)


def _given(
    column: NDArray[np.integer] | None, what: str, features: ExternalFeatures, side: str
) -> NDArray[np.integer]:
    if column is None:
        raise EvaluationError(
            f"no {what} in {features.source} ({side}); expected {len(features.values)} integers, "
            "which this protocol needs"
        )
    return column


def _require_same_identity(features: ExternalFeatures, row: int, record: ImageRecord) -> None:
    if features.identities is not None and features.identities[row] != record.identity:
        raise EvaluationError(
            f"identity {features.identities[row]} for '{record.path}' in {features.source}; "
            f"expected {record.identity_name}, as in the data set: fix it, or omit identities, "
            "which the data set provides"
        )


def _require_one_dimension(files: Sequence[ExternalFeatures]) -> None:
    sizes = list(dict.fromkeys(features.values.shape[1] for features in files))
    if len(sizes) > 1:
        raise EvaluationError(
            f"features of dimensions {sizes[0]} and {sizes[1]}; expected one: compute query and "
            "gallery features with the same network"
        )


def _matrix(values: NDArray[np.generic], source: str) -> NDArray[np.float32]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or not array.size:
        raise EvaluationError(
            f"features of type {array.dtype} and shape {array.shape} in {source}; expected numbers "
            "of shape [images, dimension], at least one of each"
        )
    with np.errstate(over="ignore"):  # overflow to infinity is reported by name later
        return array.astype(np.float32, copy=False)
