"""What the server does, without HTTP: images, the network and the gallery brought together.

Every method blocks and may be called from several threads at once.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from vireid.app.limits import PICTURES, Limits
from vireid.app.models import (
    Added,
    AddForm,
    AttentionAnswer,
    AttentionForm,
    EntryInfo,
    EntryPage,
    Forgetting,
    Found,
    Info,
    Map,
    PageQuery,
    PictureInfo,
    PictureLimits,
    SearchAnswer,
    SearchForm,
)
from vireid.app.uploads import KINDS, Picture, kind_of
from vireid.data.images import decode_image, resized
from vireid.data.inspection import guess_modality
from vireid.errors import ChangedError, ImageError, NotThereError
from vireid.features import FeatureExtractor, extract_from_bytes
from vireid.gallery import Gallery
from vireid.openset.search import search_gallery
from vireid.openset.statistics import CameraView
from vireid.types import ImageInfo, IndexedImage, Modality

__all__ = ["Service", "Source"]

Source = Literal["file", "thumbnail"]
"""Where a picture of an entry comes from: its file, or what the gallery keeps of it."""


class Service:
    """A gallery that is searched with pictures.

    Args:
        gallery: The gallery, opened for the network of ``extractor``.
        extractor: The network.
        name: What the gallery is called.
        limits: What may be asked.
        read_only: Whether nothing may be added and forgotten.
        pictures_kept: Whether the audit log keeps pictures; visitors are told.
    """

    def __init__(
        self,
        gallery: Gallery,
        extractor: FeatureExtractor,
        *,
        name: str,
        limits: Limits,
        read_only: bool = False,
        pictures_kept: bool = False,
    ) -> None:
        self.gallery = gallery
        self.read_only = read_only
        self.limits = limits
        self._extractor = extractor
        self._name = name
        self._pictures_kept = pictures_kept
        self._attends = extractor.backend.attends
        # Attention is recorded inside the network, so that one request at a time may use it; its
        # own threads use all cores anyway.
        self._network = threading.Lock()
        self._changing = threading.Lock()

    def info(self, who: str) -> Info:
        """What is served, for one visitor."""
        found = self.gallery.info()
        return Info(
            gallery=self._name,
            entries=found.entries,
            cameras=found.cameras,
            modalities=found.modalities,
            identities=found.identities,
            calibrated=found.calibrated,
            model=self._extractor.about,
            fingerprint=self._extractor.fingerprint,
            dimension=self._extractor.dimension,
            attention=self._attends,
            read_only=self.read_only,
            who=who,
            pictures_kept=self._pictures_kept,
            limits=PictureLimits(
                megabytes=self.limits.megabytes,
                megapixels=self.limits.megapixels,
                pictures=PICTURES,
                kinds=sorted(KINDS.values()),
            ),
        )

    def page(self, asked: PageQuery) -> EntryPage:
        """A part of the list of entries; costs as much as all entries before its end."""
        filters = asked.filters()
        rows = self.gallery.rows(filters, features=False, thumbnails=False)
        part = islice(rows, asked.offset, asked.offset + asked.limit)
        return EntryPage(
            total=self.gallery.count(filters), entries=[EntryInfo.of(row.info) for row in part]
        )

    def entry(self, id: str) -> IndexedImage:
        """An entry with all that is stored beside it.

        Raises:
            NotThereError: There is none.
        """
        row = self.gallery.entry(id)
        if row is None:
            raise NotThereError(
                f"The gallery has no entry '{id}'; expected one that was not forgotten; search "
                "again."
            )
        return row

    def thumbnail(self, id: str) -> tuple[bytes, Source]:
        """A small picture of an entry; its file where no thumbnail was kept.

        Raises:
            NotThereError: There is no such entry, or nothing is left of its picture.
        """
        small = self.gallery.thumbnail(id)
        return (small, "thumbnail") if small else self.picture(id)

    def picture(self, id: str) -> tuple[bytes, Source]:
        """The file of an entry, if it is still what was added; otherwise its thumbnail.

        Raises:
            NotThereError: There is no such entry, or nothing is left of its picture.
        """
        return self._picture_of(self.entry(id))

    def _picture_of(self, row: IndexedImage) -> tuple[bytes, Source]:
        path = row.info.file
        if path is not None:
            data = _read(path, self.limits.bytes)
            if hashlib.sha256(data).hexdigest() == row.info.sha256 and kind_of(data):
                return data, "file"
        if not row.thumbnail:
            raise NotThereError(
                f"No picture of entry '{row.info.id}' is left; expected its file unchanged where "
                "it was, or a thumbnail; put the file back."
            )
        return row.thumbnail, "thumbnail"

    def search(
        self, asked: SearchForm, pictures: Sequence[Picture]
    ) -> tuple[SearchAnswer, tuple[bytes, ...]]:
        """Find the entries most similar to a person.

        Args:
            asked: The filters, the entries that are searched with and the modality.
            pictures: The uploaded pictures.

        Returns:
            What was found, and the thumbnails of the pictures that were searched with.

        Raises:
            ImageError: A picture cannot be read.
            NotThereError: An entry that is searched with is not there.
        """
        uploads = [
            self._extract_features(
                picture, ImageInfo(path=Path(picture.name), modality=asked.query_modality)
            )
            for picture in pictures
        ]
        images = [*uploads, *(self.entry(str(id)) for id in asked.entry)]
        found = search_gallery(
            self.gallery,
            np.stack([image.feature for image in images]),
            [CameraView.of_image(image.info) for image in images],
            filters=asked.filters(),
            limit=asked.limit,
            # That a picture finds itself tells nobody anything, and would count for the verdict.
            leave_out=[image.info.id for image in images],
        )
        verdicts = found.verdicts or [None] * len(found.hits)
        finds = {
            hit.info.id: Found(
                rank=rank, score=hit.score, verdict=verdict, entry=EntryInfo.of(hit.info)
            )
            for rank, (hit, verdict) in enumerate(zip(found.hits, verdicts, strict=True), 1)
        }
        answer = SearchAnswer(
            query=[
                PictureInfo.model_validate(image.info, from_attributes=True) for image in images
            ],
            considered=found.considered,
            left_out=found.left_out,
            verdict=found.verdict,
            remark=found.remark,
            groups=[[finds[hit.info.id] for hit in alike] for alike in found.groups],
        )
        return answer, tuple(image.thumbnail for image in uploads)

    def add(self, told: AddForm, pictures: Sequence[Picture]) -> list[Added]:
        """Add pictures; one that cannot be read does not keep the others out.

        Args:
            told: What is known of all of them.
            pictures: The uploaded pictures.
        """
        now = datetime.now(UTC)
        made = [self._row_of(picture, told, now=now) for picture in pictures]
        new: dict[str, IndexedImage] = {}
        outcomes = []
        with self._changing:
            for one in made:
                if isinstance(one, IndexedImage):
                    id = one.info.id
                    kept = new.get(id) or self.gallery.entry(id)
                    status: Literal["new", "known"] = "known" if kept else "new"
                    kept = kept or new.setdefault(id, one)
                    info = EntryInfo.of(kept.info)
                    outcomes.append(Added(name=one.info.name, status=status, entry=info))
                else:
                    outcomes.append(one)
            if new:
                self.gallery.add(list(new.values()))
        return outcomes

    def _row_of(self, picture: Picture, told: AddForm, *, now: datetime) -> IndexedImage | Added:
        """An uploaded picture as a row, or why it is none."""
        info = ImageInfo(
            path=Path(picture.name),
            modality=told.modality,
            camera=told.camera,
            identity=told.identity,
            time=told.time,
            note=told.note,
            added=now,
        )
        try:
            return self._extract_features(picture, info)
        except ImageError as error:
            return Added(name=picture.name, status="refused", detail=str(error))

    def forget(self, asked: Forgetting) -> int:
        """Delete entries for good.

        Raises:
            ChangedError: They are more or fewer than the visitor was told; none is deleted.
        """
        filters = asked.filters()
        with self._changing:
            count = self.gallery.count(filters)
            if count != asked.expected:
                raise ChangedError(
                    f"The gallery holds {count} entries of these; expected {asked.expected}, as "
                    "you were told, so that none was forgotten; look again at what would go."
                )
            return self.gallery.delete(filters)

    def attention(self, asked: AttentionForm, picture: Picture | None) -> AttentionAnswer:
        """PALM's attention over a query and over an entry that was found.

        Args:
            asked: The entry that was found, and the query where it is an entry.
            picture: The query where it was uploaded.

        Raises:
            ImageError: The uploaded picture cannot be read.
            NotThereError: An entry is not there, or the network has no PALM.
        """
        if not self._attends:
            raise NotThereError(
                "This network has no attention to show; expected a run of dlis with PALM, and no"
                " export, which keeps none."
            )
        if picture is None:
            query = self._attention_of(str(asked.entry))
        else:
            image = decode_image(picture.data, name=picture.name)
            query = self._map(image, asked.query_modality or guess_modality(image), "upload")
        return AttentionAnswer(query=query, found=self._attention_of(str(asked.found)))

    def _attention_of(self, id: str) -> Map:
        row = self.entry(id)
        assert row.info.modality is not None
        data, source = self._picture_of(row)
        return self._map(decode_image(data, name=row.info.name), row.info.modality, source)

    def _map(
        self, image: Image.Image, modality: Modality, source: Literal["upload", "file", "thumbnail"]
    ) -> Map:
        size = self._extractor.size
        pixels = torch.from_numpy(resized(image, size).copy()).permute(2, 0, 1)[None]
        with self._network:
            maps = self._extractor.attention_of_pixels(pixels, modality)
        height, width = self._extractor.grid
        weights = maps[-1].astype(np.float64).round(6).tolist()
        return Map(height=height, width=width, weights=weights, source=source)

    def _extract_features(self, picture: Picture, info: ImageInfo) -> IndexedImage:
        with self._network:
            [image] = extract_from_bytes(self._extractor, [picture.data], [info])
        return image


def _read(path: Path, most: int) -> bytes:
    """The first bytes of a file, one more than ``most``; none where it cannot be read."""
    try:
        # A pipe that took the file's place would never end.
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(most + 1)
    except (OSError, ValueError):
        return b""
