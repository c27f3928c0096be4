"""What goes over the wire, with its types; the OpenAPI document is made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from vireid.app.limits import PICTURES
from vireid.gallery.entry import Filters
from vireid.openset.calibration import PairVerdict, Verdict
from vireid.types import ImageInfo, Modality

__all__ = [
    "AddForm",
    "Added",
    "AttentionAnswer",
    "AttentionForm",
    "EntryFilters",
    "EntryInfo",
    "EntryPage",
    "Forgetting",
    "Forgotten",
    "Found",
    "Health",
    "Info",
    "Map",
    "PageQuery",
    "PictureInfo",
    "PictureLimits",
    "Problem",
    "SearchAnswer",
    "SearchForm",
]


def _in_utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time between the years 1 and 9999") from None


Time = Annotated[datetime, AfterValidator(_in_utc)]
Text = Annotated[str, Field(max_length=200)]
Texts = Annotated[list[Text], Field(max_length=100)]
Ids = Annotated[list[UUID], Field(max_length=100)]


class _Strict(BaseModel):
    """Refuses what it does not know, so that a misspelt filter does not widen a search."""

    model_config = ConfigDict(extra="forbid")


class EntryFilters(_Strict):
    """Which entries are asked for; all conditions hold, and one that is left out always does."""

    camera: Texts = Field(default=[], description="One of these; the empty text: unknown.")
    modality: Modality | None = None
    since: Time | None = Field(default=None, description="Taken then or later; UTC without a zone.")
    until: Time | None = Field(default=None, description="Taken before; UTC without a zone.")
    identity: Texts = Field(default=[], description="One of these; the empty text: unknown.")
    note: Text = Field(default="", description="The note contains this, whatever the case.")

    def filters(self) -> Filters:
        """The same, as the gallery takes it."""
        return Filters(
            cameras=tuple(self.camera),
            modality=self.modality,
            since=self.since,
            until=self.until,
            identities=tuple(self.identity),
            note=self.note,
        )

    def given(self) -> dict[str, object]:
        """The conditions that were given, as JSON takes them."""
        return self.model_dump(
            mode="json", include=set(EntryFilters.model_fields), exclude_defaults=True
        )


class PageQuery(EntryFilters):
    """A part of the list of entries."""

    offset: int = Field(default=0, ge=0, le=10_000_000, description="How many to pass over.")
    limit: int = Field(default=50, ge=0, le=200)


Images = Annotated[
    list[UploadFile],
    Field(max_length=PICTURES, description=f"JPEG, PNG, WebP or BMP; at most {PICTURES}."),
]
GivenModality = Annotated[
    Modality | None, Field(description="The pictures' modality; guessed from each where left out.")
]


class SearchForm(EntryFilters):
    """Pictures of one person, uploaded or of the gallery, and which entries are searched."""

    images: Images = []
    entry: Annotated[list[UUID], Field(max_length=PICTURES)] = Field(
        default=[], description="Entries of the gallery that are searched with, and passed over."
    )
    query_modality: GivenModality = None
    limit: int = Field(default=20, ge=1, le=200, description="The most entries found.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not 1 <= len(self.images) + len(self.entry) <= PICTURES:
            raise ValueError(f"expected 1 to {PICTURES} pictures, as images or entry")
        return self


class AddForm(_Strict):
    """Pictures to add, and what is known of all of them."""

    images: Annotated[list[UploadFile], Field(min_length=1, max_length=PICTURES)]
    modality: GivenModality = None
    camera: Text = ""
    identity: Text = ""
    time: Time | None = Field(default=None, description="When they were taken; UTC without a zone.")
    note: Annotated[str, Field(max_length=2000)] = ""


class AttentionForm(_Strict):
    """A query, uploaded or an entry, and the entry that was found."""

    image: UploadFile | None = None
    entry: UUID | None = Field(default=None, description="The query, where it is an entry.")
    query_modality: GivenModality = None
    found: UUID

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.image is None) == (self.entry is None):
            raise ValueError("expected one query, as image or entry")
        return self


class Forgetting(_Strict):
    """Which entries to forget, and how many they are, so that no more go than were meant."""

    ids: Ids = Field(default=[], description="These entries.")
    identity: Texts = Field(default=[], description="All entries of these identities.")
    expected: int = Field(ge=1, description="How many entries that is; otherwise none is deleted.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.ids and not self.identity:
            raise ValueError("expected ids or an identity; everything is never forgotten at once")
        return self

    def filters(self) -> Filters:
        """The same, as the gallery takes it."""
        return Filters(ids=tuple(map(str, self.ids)), identities=tuple(self.identity))


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str


class Health(BaseModel):
    """That the server runs."""

    status: Literal["ok"] = "ok"


class EntryInfo(BaseModel):
    """What is known of an image of the gallery."""

    id: str
    name: str
    modality: Modality
    camera: str
    identity: str
    time: datetime | None
    note: str
    added: datetime

    @classmethod
    def of(cls, info: ImageInfo) -> Self:
        """An entry as it goes over the wire; where its file lies is the server's own business."""
        return cls.model_validate(info, from_attributes=True)


class EntryPage(BaseModel):
    """A part of the list of entries, in the order of their ids."""

    total: int = Field(description="How many entries match in all.")
    entries: list[EntryInfo]


class PictureLimits(BaseModel):
    """What may be uploaded."""

    megabytes: float
    megapixels: float
    pictures: int
    kinds: list[str]


class Info(BaseModel):
    """What the server serves."""

    gallery: str
    entries: int
    cameras: dict[str, int] = Field(description="Entries by camera; the empty text: unknown.")
    modalities: dict[str, int]
    identities: int = Field(description="How many identities have a name.")
    model: dict[str, str] = Field(description="The network, as text by name.")
    fingerprint: str
    dimension: int
    attention: bool = Field(description="Whether PALM can be shown; an export keeps none.")
    calibrated: bool = Field(description="Whether answers carry verdicts.")
    read_only: bool
    who: str = Field(description="The name of the visitor's token; local without tokens.")
    pictures_kept: bool = Field(description="Whether the audit log keeps pictures searched with.")
    limits: PictureLimits


class PictureInfo(BaseModel):
    """A picture that was searched with."""

    name: str
    modality: Modality
    guessed: bool = Field(description="Whether the modality was guessed from the picture.")


class Found(BaseModel):
    """An entry that was found."""

    rank: int = Field(description="From 1, by score.")
    score: float = Field(description="Cosine of the features, in [-1, 1]; not a probability.")
    verdict: PairVerdict | None = Field(description="Whether it shows the person searched for.")
    entry: EntryInfo


class SearchAnswer(BaseModel):
    """What was found, best first."""

    query: list[PictureInfo]
    considered: int = Field(description="How many entries were compared.")
    left_out: int = Field(
        description="How many entries match the filters, but are pictures that were searched with."
    )
    verdict: Verdict | None = Field(description="Of the person who was searched for.")
    remark: str = Field(description="Why there is none, or what to think of it; may be empty.")
    groups: list[list[Found]] = Field(
        description="Entries found; those of one group are nearly identical, its best one first."
    )


class Added(BaseModel):
    """What became of an uploaded picture."""

    name: str
    status: Literal["new", "known", "refused"]
    detail: str = Field(default="", description="Why it was refused.")
    entry: EntryInfo | None = Field(default=None, description="None where it was refused.")


class Forgotten(BaseModel):
    """How many entries were deleted."""

    forgotten: int


class Map(BaseModel):
    """PALM's attention over one image."""

    height: int
    width: int
    weights: list[list[float]] = Field(
        description="[N, N], N = height x width: row i holds the weights with which position i "
        "attends to all positions (row by row); it sums to 1."
    )
    source: Literal["upload", "file", "thumbnail"] = Field(
        description="What the network looked at; the thumbnail where the file is gone or changed."
    )


class AttentionAnswer(BaseModel):
    """PALM's attention over a query and over what was found."""

    query: Map
    found: Map
