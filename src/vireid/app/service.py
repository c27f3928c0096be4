"""The server without HTTP. Methods block and may be called from several threads at once."""

from __future__ import annotations

import base64
import hashlib
import heapq
import math
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vireid.app.cases import CaseAccess
from vireid.app.limits import Limits
from vireid.app.models import (
    AddForm,
    AddOutcome,
    AttentionForm,
    AttentionMap,
    AttentionResponse,
    CaseDecisions,
    CaseInfo,
    DeleteRequest,
    EditRequest,
    EntryInfo,
    EntryList,
    Info,
    ListQuery,
    PeopleForm,
    PeopleResponse,
    PersonFound,
    QueryImage,
    ReportForm,
    SearchForm,
    SearchHit,
    SearchResponse,
    UploadLimits,
    ViewFound,
)
from vireid.app.uploads import Upload, media_type
from vireid.data.decoding import decoding
from vireid.data.file_kind import is_video
from vireid.data.images import decode_image, resized
from vireid.data.inspection import guess_modality
from vireid.errors import ChangedError, ImageError, NotThereError, many
from vireid.features import FeatureExtractor, extract_from_bytes
from vireid.gallery import Gallery
from vireid.openset.decisions import keep_search
from vireid.openset.search import SearchResult, search_gallery
from vireid.openset.statistics import CameraView
from vireid.types import ImageInfo, IndexedImage, Modality
from vireid.video.detectors import Detector
from vireid.video.scenes import (
    MemoryVideo,
    NoDetector,
    cut_out,
    describe_people,
    has_shape_of_crop,
    people_of_image,
    people_of_video,
)

__all__ = ["Service", "Source"]

Source = Literal["file", "thumbnail"]
"""Where the image of an entry comes from: its file, or the thumbnail in the gallery."""


class Service:
    """The gallery and the model behind the API.

    Args:
        gallery: The gallery, opened for the model of ``extractor``.
        extractor: The model.
        name: Name of the gallery.
        limits: Limits on requests.
        read_only: Whether adding and deleting are disabled.
        audit_images: Whether the audit log stores query images, which the page discloses.
        detector: Finds the people of frames and videos.
    """

    def __init__(
        self,
        gallery: Gallery,
        extractor: FeatureExtractor,
        *,
        name: str,
        limits: Limits,
        read_only: bool = False,
        audit_images: bool = False,
        detector: Detector | None = None,
    ) -> None:
        self.gallery = gallery
        self.read_only = read_only
        self.limits = limits
        self._extractor = extractor
        self._name = name
        self._audit_images = audit_images
        self._attends = extractor.backend.attends
        self._write_lock = threading.Lock()
        self.cases = CaseAccess(gallery, name)
        self._detector = _Shared(detector or NoDetector("This server has no detector."))

    def info(self, user: str) -> Info:
        """The gallery, the model and the limits."""
        found = self.gallery.info()
        return Info(
            gallery=self._name,
            entries=found.entries,
            cameras=found.cameras,
            modalities=found.modalities,
            identities=found.identities,
            calibrated=found.calibrated,
            cases=self.gallery.cases.available,
            model=self._extractor.about,
            fingerprint=self._extractor.fingerprint,
            dimension=self._extractor.dimension,
            attention=self._attends,
            read_only=self.read_only,
            user=user,
            audit_images=self._audit_images,
            limits=UploadLimits.model_validate(self.limits),
        )

    def entries(self, query: ListQuery) -> EntryList:
        """List entries; reads all up to the end of the range, or by time all that match."""
        filters = query.filters()
        rows = self.gallery.rows(filters, features=False, thumbnails=False)
        infos: Iterable[ImageInfo] = (row.info for row in rows)
        end = query.offset + query.limit
        if query.order == "newest":
            infos = heapq.nsmallest(end, infos, key=_newest_first)
        return EntryList(
            total=self.gallery.count(filters),
            entries=[EntryInfo.model_validate(info) for info in islice(infos, query.offset, end)],
        )

    def entry(self, id: str) -> IndexedImage:
        """Look up an entry.

        Raises:
            NotThereError: It does not exist.
        """
        row = self.gallery.entry(id)
        if row is None:
            raise NotThereError(
                f"The gallery has no entry '{id}'; expected one that was not deleted; search again."
            )
        return row

    def thumbnail(self, id: str) -> tuple[bytes, Source]:
        """The thumbnail of an entry, or its file if it has no thumbnail.

        Raises:
            NotThereError: There is no such entry, or it has neither.
        """
        small = self.gallery.thumbnail(id)
        return (small, "thumbnail") if small else self.image(id)

    def image(self, id: str) -> tuple[bytes, Source]:
        """The file of an entry if it is unchanged, otherwise its thumbnail.

        Raises:
            NotThereError: There is no such entry, or it has neither.
        """
        return self._bytes_of(self.entry(id))

    def _bytes_of(self, row: IndexedImage) -> tuple[bytes, Source]:
        path = row.info.file
        if path is not None:
            data = _read(path, self.limits.bytes)
            if hashlib.sha256(data).hexdigest() == row.info.sha256 and media_type(data):
                return data, "file"
        if not row.thumbnail:
            raise NotThereError(
                f"Entry '{row.info.id}' has no image left; expected its unchanged file or a "
                "thumbnail; restore the file."
            )
        return row.thumbnail, "thumbnail"

    @decoding()
    def people(self, form: PeopleForm, upload: Upload) -> PeopleResponse:
        """Find the people of a frame or a short video, or cut out a box.

        Args:
            form: The box, if one was drawn.
            upload: The frame or the video.

        Raises:
            ConfigError: The box is outside the frame.
            ExportError: The packages that decode videos are not installed.
            ImageError: The image cannot be read.
            VideoError: The video cannot be read.
        """
        video = is_video(upload.data)
        source: Image.Image | MemoryVideo = (
            MemoryVideo(upload.data, upload.name, seconds=self.limits.detect_seconds)
            if video
            else self._decode(upload.data, upload.name)
        )
        if form.box:
            scene = cut_out(source, form.box, seconds=form.seconds)
        elif isinstance(source, MemoryVideo):
            scene = people_of_video(source, self._detector, seconds=self.limits.video_seconds)
        else:
            scene = people_of_image(upload.name, source, self._detector)
        return PeopleResponse(
            video=video,
            crop=not video and (scene.is_crop or has_shape_of_crop(scene.width, scene.height)),
            width=scene.width,
            height=scene.height,
            frames=scene.frames,
            seconds=scene.seconds,
            people=[
                PersonFound(
                    crops=[_base64(crop.jpeg()) for crop in person.crops],
                    modality=person.modality,
                    score=person.crops[0].score,
                    frames=person.boxes,
                    first=person.first,
                    last=person.last,
                )
                for person in scene.people
            ],
            views=[
                ViewFound(
                    image=_base64(view.jpeg),
                    seconds=view.seconds,
                    people=list(view.boxes),
                    boxes=list(view.boxes.values()),
                )
                for view in scene.views
            ],
            remarks=[
                *([f"People cannot be found: {scene.problem}"] if scene.problem else []),
                *scene.remarks,
            ],
        )

    @decoding()
    def _remark(self, upload: Upload) -> str:
        """Say if an upload does not seem to show one person."""
        if has_shape_of_crop(*upload.size):
            return ""
        image = self._decode(upload.data, upload.name)
        return describe_people(upload.name, image, self._detector)

    def search(
        self, form: SearchForm, uploads: Sequence[Upload]
    ) -> tuple[SearchResponse, tuple[bytes, ...]]:
        """Find the entries most similar to a person.

        Args:
            form: The filters, the entries used as query images, and the modality.
            uploads: The uploaded query images.

        Returns:
            The results, and the thumbnails of the uploads.

        Raises:
            ImageError: An upload cannot be read.
            NotThereError: An entry used as query image does not exist.
        """
        images, found = self._find(form, uploads)
        verdicts = found.verdict_by_id
        response = SearchResponse(
            query=[QueryImage.model_validate(image.info) for image in images],
            query_remarks=[remark for remark in map(self._remark, uploads) if remark],
            considered=found.considered,
            own_modality=found.own_modality,
            left_out=found.left_out,
            verdict=found.verdict,
            remark=found.remark,
            groups=[
                [
                    SearchHit(
                        rank=rank,
                        score=hit.score,
                        verdict=verdicts.get(hit.info.id),
                        entry=EntryInfo.model_validate(hit.info),
                    )
                    for hit in group
                ]
                for rank, group in enumerate(found.groups, 1)
            ],
            mean_scores=list(found.mean_scores),
        )
        return response, tuple(image.thumbnail for image in images[: len(uploads)])

    def report(
        self, form: ReportForm, uploads: Sequence[Upload], user: str
    ) -> tuple[bytes, SearchResult, tuple[bytes, ...]]:
        """Find as :meth:`search` does, and render a report of it.

        Args:
            form: As there, and the form of the report.
            uploads: As there.
            user: Who asked.

        Returns:
            The report, the results, and the thumbnails of the uploads.
        """
        # A slow import that few need.
        from vireid.reports.case import Search, render_report, search_report

        images, found = self._find(form, uploads)
        search = Search(
            gallery=self.gallery,
            name=self._name,
            user=user,
            asked=datetime.now(UTC).replace(microsecond=0),
            filters=form.filters(),
            queries=images,
            found=found,
            paths=False,
        )
        page = render_report(search_report(search), f".{form.format}")
        return page, found, tuple(image.thumbnail for image in images[: len(uploads)])

    def decide(
        self, user: str, id: str, form: CaseDecisions, uploads: Sequence[Upload]
    ) -> CaseInfo:
        """Keep decisions on entries in a case, with the scores of the search that finds them.

        Args:
            user: Who decided.
            id: The case.
            form: The search as for :meth:`search`, without query images none, and the decisions.
            uploads: As there.

        Raises:
            ImageError: As there.
            NotThereError: There is no such case or entry, or the search does not find an entry.
        """
        self.cases.get(user, id)
        decisions = form.decisions()
        if not uploads and not form.entry:
            return self.cases.decide(user, id, decisions)
        images, found = self._find(form, uploads)
        infos = [image.info for image in images]
        case = keep_search(self.gallery, id, infos, found, decisions, by=user)
        return self.cases.described(case, user)

    def _find(
        self, form: SearchForm, uploads: Sequence[Upload]
    ) -> tuple[list[IndexedImage], SearchResult]:
        """The query images, uploads first, and what they find."""
        uploaded = [
            self._extract(upload, ImageInfo(path=Path(upload.name), modality=form.query_modality))
            for upload in uploads
        ]
        entries = {str(id): self.entry(str(id)) for id in form.entry}
        if form.tracklets:
            whole = self.gallery.tracklets([row.info for row in entries.values()])
            entries |= {row.info.id: row for row in whole}
        images = [*uploaded, *entries.values()]
        found = search_gallery(
            self.gallery,
            np.stack([image.feature for image in images]),
            [CameraView.of_image(image.info) for image in images],
            filters=form.filters(),
            both_modalities=form.both_modalities,
            limit=form.limit,
            # A query image would only find itself, and count for the verdict.
            leave_out=[image.info.id for image in images],
        )
        return images, found

    def add(self, form: AddForm, uploads: Sequence[Upload]) -> list[AddOutcome]:
        """Add images; an unreadable one does not affect the others.

        Args:
            form: The metadata of all images.
            uploads: The uploaded images.
        """
        metadata = form.model_dump(exclude={"images"}) | {"added": datetime.now(UTC)}
        extracted: list[IndexedImage | ImageError] = []
        for upload in uploads:
            try:
                extracted.append(
                    self._extract(upload, ImageInfo(path=Path(upload.name), **metadata))
                )
            except ImageError as error:
                extracted.append(error)
        new: dict[str, IndexedImage] = {}
        outcomes = []
        with self._write_lock:
            for upload, image in zip(uploads, extracted, strict=True):
                if isinstance(image, ImageError):
                    outcomes.append(
                        AddOutcome(name=upload.name, status="refused", detail=str(image))
                    )
                    continue
                id = image.info.id
                known = new.get(id) or self.gallery.entry(id)
                outcomes.append(
                    AddOutcome(
                        name=upload.name,
                        status="known" if known else "new",
                        entry=EntryInfo.model_validate((known or image).info),
                    )
                )
                if not known:
                    new[id] = image
            if new:
                self.gallery.add(list(new.values()))
        return outcomes

    def edit(self, id: str, request: EditRequest) -> tuple[ImageInfo, ImageInfo]:
        """Change the metadata of an entry.

        Returns:
            The metadata before and after.

        Raises:
            NotThereError: It does not exist.
        """
        with self._write_lock:
            before = self.entry(id).info
            self.gallery.edit({id: request.changes()})
            return before, self.entry(id).info

    def delete(self, request: DeleteRequest) -> int:
        """Delete entries for good.

        Raises:
            ChangedError: Their number is not the expected one; none is deleted.
        """
        filters = request.filters()
        with self._write_lock:
            count = len(self.gallery.select(filters))
            if count != request.expected:
                raise ChangedError(
                    f"The gallery holds {many(count, 'entry', 'entries')} of these; expected"
                    f" {request.expected}. Nothing was deleted; check the entries again."
                )
            return self.gallery.delete(filters)

    @decoding()
    def attention(self, form: AttentionForm, upload: Upload | None) -> AttentionResponse:
        """PALM's attention over a query image and over a result.

        Args:
            form: The result, and the query image if it is an entry.
            upload: The query image if it was uploaded.

        Raises:
            ImageError: The upload cannot be read.
            NotThereError: An entry does not exist, or the model has no PALM.
        """
        if not self._attends:
            raise NotThereError(
                "This model has no attention to show; expected a run of dlis with PALM, not an"
                " export."
            )
        if upload is None:
            query = self._attention_of(str(form.entry))
        else:
            image = self._decode(upload.data, upload.name)
            query = self._map(image, form.query_modality or guess_modality(image), "upload")
        return AttentionResponse(query=query, result=self._attention_of(str(form.result)))

    def _attention_of(self, id: str) -> AttentionMap:
        row = self.entry(id)
        assert row.info.modality is not None
        data, source = self._bytes_of(row)
        image = self._decode(data, row.info.name, row.info.camera)
        return self._map(image, row.info.modality, source)

    def _decode(self, data: bytes, name: str, camera: str = "") -> Image.Image:
        how = self._extractor.tone_mapping.of(camera)
        return decode_image(data, name=name, tone_mapping=how)

    def _map(
        self, image: Image.Image, modality: Modality, source: Literal["upload", "file", "thumbnail"]
    ) -> AttentionMap:
        size = self._extractor.size
        pixels = torch.from_numpy(resized(image, size).copy()).permute(2, 0, 1)[None]
        maps = self._extractor.attention_of_pixels(pixels, modality)
        height, width = self._extractor.grid
        weights = maps[-1].astype(np.float64).round(6).tolist()
        return AttentionMap(height=height, width=width, weights=weights, source=source)

    def _extract(self, upload: Upload, info: ImageInfo) -> IndexedImage:
        # One at a time, so that a request holds one decoded image.
        [image] = extract_from_bytes(self._extractor, [upload.data], [info])
        return image


class _Shared:
    """A detector for several threads, which finds the people of one frame at a time."""

    def __init__(self, detector: Detector) -> None:
        self.name = detector.name
        self._detector = detector
        self._lock = threading.Lock()

    def boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As :meth:`Detector.boxes`."""
        with self._lock:
            return self._detector.boxes(frame)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _newest_first(info: ImageInfo) -> tuple[float, str]:
    return (-info.time.timestamp() if info.time else math.inf), info.id


def _read(path: Path, limit: int) -> bytes:
    """The first ``limit + 1`` bytes of a file; empty if it cannot be read."""
    try:
        # Reading a pipe in its place would never end.
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(limit + 1)
    except (OSError, ValueError):
        return b""
