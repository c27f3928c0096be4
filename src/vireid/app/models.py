"""Requests and responses of the REST API; the OpenAPI document is generated from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vireid.app.limits import MAX_IMAGES
from vireid.app.uploads import KINDS
from vireid.data.file_kind import FORMATS
from vireid.gallery.cases import LONGEST_NAME, LONGEST_NOTE, Decision
from vireid.gallery.filters import Filters
from vireid.openset.calibration import PairVerdict, Verdict
from vireid.times import parse_time
from vireid.types import Modality
from vireid.video.scenes import CROP_HEIGHT, CROP_RATIO

__all__ = [
    "AddForm",
    "AddOutcome",
    "AttentionForm",
    "AttentionMap",
    "AttentionResponse",
    "CaseDecisions",
    "CaseEdit",
    "CaseHitInfo",
    "CaseInfo",
    "CaseList",
    "CaseNoteInfo",
    "CaseQueryInfo",
    "CaseRemoval",
    "CaseReportForm",
    "CaseSummary",
    "DeleteRequest",
    "Deleted",
    "EditRequest",
    "EntryFilters",
    "EntryInfo",
    "EntryList",
    "Health",
    "Info",
    "ListQuery",
    "NewCase",
    "NewNote",
    "PeopleForm",
    "PeopleResponse",
    "PersonFound",
    "Problem",
    "QueryImage",
    "ReportForm",
    "SearchForm",
    "SearchHit",
    "SearchResponse",
    "UploadLimits",
    "ViewFound",
]


Time = Annotated[datetime, BeforeValidator(parse_time)]
Text = Annotated[str, Field(max_length=200)]
Texts = Annotated[list[Text], Field(max_length=100)]
Pixel = Annotated[int, Field(ge=0, le=100_000)]
Ids = Annotated[list[UUID], Field(max_length=100)]


class _Strict(BaseModel):
    """Rejects unknown fields, so that a misspelt filter does not widen a search."""

    model_config = ConfigDict(extra="forbid")


class _Record(BaseModel):
    """Is built from a record of the library with the same attributes."""

    model_config = ConfigDict(from_attributes=True)


class EntryFilters(_Strict):
    """Filters on entries; all given filters must match."""

    camera: Texts = Field(default=[], description="One of these; empty text: unknown.")
    modality: Modality | None = None
    since: Time | None = Field(
        default=None, description="Taken at this time or later; UTC without an offset."
    )
    until: Time | None = Field(
        default=None, description="Taken before this time; UTC without an offset."
    )
    identity: Texts = Field(default=[], description="One of these; empty text: unknown.")
    tracklet: Texts = Field(
        default=[], description="One of these; names are unique within a camera."
    )
    note: Text = Field(default="", description="The note contains this text, ignoring case.")

    def filters(self) -> Filters:
        """Convert to the gallery's filters."""
        return Filters(
            cameras=tuple(self.camera),
            modality=self.modality,
            since=self.since,
            until=self.until,
            identities=tuple(self.identity),
            tracklets=tuple(self.tracklet),
            note=self.note,
        )

    def given(self) -> dict[str, object]:
        """The given filters as JSON values, for the audit log."""
        return self.model_dump(
            mode="json", include=set(EntryFilters.model_fields), exclude_defaults=True
        )


class ListQuery(EntryFilters):
    """Filters and a range of the list of entries."""

    offset: int = Field(default=0, ge=0, le=10_000_000, description="Number of entries to skip.")
    limit: int = Field(default=50, ge=0, le=200)
    order: Literal["id", "newest"] = Field(
        default="id", description="newest: by when they were taken, those without a time last."
    )


Images = Annotated[
    list[UploadFile],
    Field(max_length=MAX_IMAGES, description=f"{FORMATS}; at most {MAX_IMAGES}."),
]
GivenModality = Annotated[
    Modality | None, Field(description="Modality of the images; detected in each if not given.")
]


class SearchForm(EntryFilters):
    """Query images of one person, uploaded or from the gallery, and filters on the results."""

    images: Images = []
    entry: Annotated[list[UUID], Field(max_length=MAX_IMAGES)] = Field(
        default=[],
        description="Entries used as query images; they are excluded from the results, with"
        " their tracklets.",
    )
    tracklets: bool = Field(
        default=False, description="Search with all images of the tracklets of these entries."
    )
    query_modality: GivenModality = None
    both_modalities: bool = Field(
        default=False, description="Search entries of the query's own modality too."
    )
    limit: int = Field(
        default=20, ge=1, le=200, description="Maximum number of results; a tracklet is one."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not 1 <= len(self.images) + len(self.entry) <= MAX_IMAGES:
            raise ValueError(f"expected 1 to {MAX_IMAGES} query images, as images or entry")
        return self


Format = Annotated[
    Literal["html", "csv", "json"],
    Field(description="html is one self-contained page with a timeline."),
]


class ReportForm(SearchForm):
    """A search, and the form of its report."""

    format: Format = "html"


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Entries = Annotated[list[UUID], Field(max_length=500)]


class NewCase(_Strict):
    """A case to open."""

    name: Name


class CaseEdit(_Strict):
    """What to change of a case; what is not given stays."""

    name: Name | None = None
    shared: bool | None = Field(
        default=None, description="Whether everybody with a token may read and change the case."
    )


class CaseDecisions(SearchForm):
    """A search, and decisions on its results; without query images decisions on any entries."""

    chosen: Entries = Field(default=[], description="Entries that show the person.")
    rejected: Entries = Field(default=[], description="Entries that do not.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if len(self.images) + len(self.entry) > MAX_IMAGES:
            raise ValueError(f"expected at most {MAX_IMAGES} query images, as images or entry")
        if not self.decisions() and not self.images and not self.entry:
            raise ValueError("expected chosen or rejected entries, or query images")
        return self

    def decisions(self) -> dict[str, Decision]:
        """The decisions by entry; a rejection counts for one that is also chosen."""
        chosen: dict[str, Decision] = dict.fromkeys(map(str, self.chosen), "chosen")
        return chosen | dict.fromkeys(map(str, self.rejected), "rejected")


class CaseRemoval(_Strict):
    """Hits, query images and notes to remove from a case."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=500)]


class NewNote(_Strict):
    """A note on a case."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_NOTE)]


class CaseReportForm(_Strict):
    """The form of the report of a case."""

    format: Format = "html"


class PeopleForm(_Strict):
    """A frame or a short video whose people are wanted."""

    file: UploadFile = Field(description="An image, or a video of which the beginning is read.")
    box: Annotated[list[Pixel], Field(max_length=4)] = Field(
        default=[],
        description="Cut out this box instead of looking for people: left, top, right and bottom"
        " in pixels of the frame, as four fields.",
    )
    seconds: float = Field(
        default=0, ge=0, le=86_400, description="That of the view of a video that has the box."
    )

    @model_validator(mode="after")
    def _four(self) -> Self:
        if len(self.box) not in {0, 4}:
            raise ValueError("expected no box, or its left, top, right and bottom")
        return self


class AddForm(_Strict):
    """Images to add, and their common metadata."""

    images: Annotated[list[UploadFile], Field(min_length=1, max_length=MAX_IMAGES)]
    modality: GivenModality = None
    camera: Text = ""
    identity: Text = ""
    time: Time | None = Field(
        default=None, description="When the images were taken; UTC without an offset."
    )
    note: Annotated[str, Field(max_length=2000)] = ""


class EditRequest(_Strict):
    """New metadata of an entry; what is not given stays, and an empty value is unknown."""

    camera: Text | None = None
    identity: Text | None = None
    time: Time | Literal[""] | None = Field(
        default=None, description="When it was taken; UTC without an offset."
    )
    tracklet: Text | None = None
    note: Annotated[str, Field(max_length=2000)] | None = None

    def changes(self) -> dict[str, Any]:
        """The given values, by the names of the library."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        given = {name: value for name, value in given.items() if value is not None}
        return given | ({"time": given["time"] or None} if "time" in given else {})


class AttentionForm(_Strict):
    """A query image, uploaded or an entry, and a result."""

    image: UploadFile | None = None
    entry: UUID | None = Field(default=None, description="The query image if it is an entry.")
    query_modality: GivenModality = None
    result: UUID = Field(description="An entry that was found.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.image is None) == (self.entry is None):
            raise ValueError("expected one query image, as image or entry")
        return self


class DeleteRequest(_Strict):
    """Entries to delete, and their number as a safeguard."""

    ids: Ids = Field(default=[], description="These entries.")
    identity: Texts = Field(default=[], description="All entries of these identities.")
    expected: int = Field(
        ge=1, description="Number of these entries; if it differs, none is deleted."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.ids and not self.identity:
            raise ValueError("expected ids or an identity; all entries are never deleted at once")
        return self

    def filters(self) -> Filters:
        """Convert to the gallery's filters."""
        return Filters(ids=tuple(map(str, self.ids)), identities=tuple(self.identity))


class Problem(BaseModel):
    """An error."""

    detail: str


class Health(BaseModel):
    """The server is running."""

    status: Literal["ok"] = "ok"


class EntryInfo(_Record):
    """The metadata of an entry; the path of its file stays on the server."""

    id: str
    name: str
    modality: Modality
    camera: str
    identity: str
    time: datetime | None
    tracklet: str
    note: str
    added: datetime


class EntryList(BaseModel):
    """A range of the list of entries."""

    total: int = Field(description="Number of matching entries.")
    entries: list[EntryInfo]


class PersonFound(BaseModel):
    """A person in a frame, or a tracklet of a video."""

    crops: list[str] = Field(description="Up to 4 JPEG files in base64, the best first.")
    modality: Modality = Field(description="Detected: infrared if the frames have no colour.")
    score: float = Field(description="The detector's for the best crop, in [0, 1]; 1 for a box.")
    frames: int = Field(description="Number of analysed frames that show the person.")
    first: float = Field(description="Second of the first of them.")
    last: float = Field(description="Second of the last of them.")


class ViewFound(BaseModel):
    """A frame, and who is in it."""

    image: str = Field(description="A JPEG file in base64, within 1280 pixels.")
    seconds: float
    people: list[int] = Field(description="The people in it, by their places in the list.")
    boxes: list[tuple[int, int, int, int]] = Field(
        description="Their boxes: left, top, right and bottom in pixels of the original frame."
    )


class PeopleResponse(BaseModel):
    """The people of a frame or a video; the server keeps nothing of it."""

    video: bool
    crop: bool = Field(
        description="Whether the image is a crop: by its shape, or one person who fills it."
    )
    width: int
    height: int
    frames: int = Field(description="Number of frames analysed.")
    seconds: float = Field(description="Second of the last of them.")
    people: list[PersonFound] = Field(description="From left to right, or in the order of time.")
    views: list[ViewFound] = Field(description="The frame, or some of those of a video.")
    remarks: list[str] = Field(description="What was left out or is damaged.")


class UploadLimits(_Record):
    """Limits on uploads."""

    megabytes: float
    megapixels: float
    video_seconds: float = Field(description="Seconds of a video that are looked at.")
    images: int = MAX_IMAGES
    kinds: list[str] = sorted(KINDS.values())
    crop_ratio: float = Field(
        default=CROP_RATIO, description="Least height / width of an image taken for a crop."
    )
    crop_height: int = Field(default=CROP_HEIGHT, description="Most rows of such an image.")


class Info(BaseModel):
    """The gallery, the model and the limits of this server."""

    gallery: str
    entries: int
    cameras: dict[str, int] = Field(description="Entries per camera; empty text: unknown.")
    modalities: dict[str, int]
    identities: int = Field(description="Number of named identities.")
    model: dict[str, str] = Field(description="Description of the model.")
    fingerprint: str
    dimension: int
    attention: bool = Field(description="Whether PALM attention is available; exports have none.")
    calibrated: bool = Field(description="Whether results have verdicts.")
    cases: bool = Field(description="Whether the gallery can have cases; one on a server cannot.")
    read_only: bool
    user: str = Field(description="Name of the token in use; local if the server has no tokens.")
    audit_images: bool = Field(description="Whether the audit log stores query images.")
    limits: UploadLimits


class QueryImage(_Record):
    """A query image."""

    name: str
    modality: Modality
    detected: bool = Field(
        validation_alias="guessed", description="Whether the modality was detected from the image."
    )


class SearchHit(BaseModel):
    """An entry that was found."""

    rank: int = Field(description="That of its group, from 1: all images of a result share it.")
    score: float = Field(description="Cosine similarity in [-1, 1]; not a probability.")
    verdict: PairVerdict | None = Field(description="Whether it shows the query's person.")
    entry: EntryInfo


class SearchResponse(BaseModel):
    """Results, best first."""

    query: list[QueryImage]
    query_remarks: list[str] = Field(
        description="On uploads that do not seem to show one person, such as whole scenes."
    )
    considered: int = Field(description="Number of entries that match the filters.")
    own_modality: int = Field(
        description="Number of matching entries of the query's own modality, which are left out if"
        " there are entries of the other."
    )
    left_out: int = Field(
        description="Number of matching entries excluded as query images or of their tracklets."
    )
    verdict: Verdict | None = Field(description="Whether the gallery holds the query's person.")
    remark: str = Field(description="Why there is no verdict, or how to read it; may be empty.")
    groups: list[list[SearchHit]] = Field(
        description="Results, best first; a group is a tracklet or near-duplicates, best first."
    )
    mean_scores: list[float | None] = Field(
        description="Of each group that is a tracklet, the score of the mean feature of its images."
    )


class AddOutcome(BaseModel):
    """The outcome of one uploaded image."""

    name: str
    status: Literal["new", "known", "refused"]
    detail: str = Field(default="", description="Why the image was refused.")
    entry: EntryInfo | None = Field(default=None, description="The entry; none if refused.")


class CaseSummary(_Record):
    """A case without its content."""

    id: str
    name: str
    opened_by: str
    opened: datetime
    changed: datetime
    shared: bool
    own: bool = Field(description="Whether you may share, rename and delete it.")
    queries: int
    chosen: int
    rejected: int
    notes: int
    deleted: int = Field(description="Number of its images that were deleted from the gallery.")


class CaseList(BaseModel):
    """The cases that you may read, the last changed one first."""

    cases: list[CaseSummary]
    damaged: int = Field(description="Number of cases whose files cannot be read.")


class CaseQueryInfo(BaseModel):
    """A query image of a case."""

    id: str
    name: str = Field(description="The file's name if it was uploaded; empty for an entry.")
    by: str
    time: datetime
    entry: EntryInfo | None = Field(description="None if it is no entry of the gallery.")


class CaseHitInfo(BaseModel):
    """A hit that was decided on."""

    decision: Decision
    by: str
    time: datetime
    score: float | None = Field(description="None if it was not found by a search.")
    verdict: str
    entry: EntryInfo


class CaseNoteInfo(_Record):
    """A note on a case."""

    id: str
    by: str
    time: datetime
    text: str


class CaseInfo(BaseModel):
    """A case with what the gallery knows of its entries now."""

    case: CaseSummary
    queries: list[CaseQueryInfo]
    hits: list[CaseHitInfo]
    notes: list[CaseNoteInfo]


class Deleted(BaseModel):
    """The number of deleted entries."""

    deleted: int


class AttentionMap(BaseModel):
    """PALM's attention over one image."""

    height: int
    width: int
    weights: list[list[float]] = Field(
        description="[N, N], N = height x width, positions row by row: row i holds the attention "
        "weights of position i over all positions, which sum to 1."
    )
    source: Literal["upload", "file", "thumbnail"] = Field(
        description="The image used; the thumbnail if the file is missing or changed."
    )


class AttentionResponse(BaseModel):
    """PALM's attention over a query image and over a result."""

    query: AttentionMap
    result: AttentionMap
