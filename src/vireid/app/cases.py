"""The cases of the gallery behind the API: who may read and change them.

A case is for who opened it, unless it is shared with everybody who has a token. Without tokens the
server is reachable from its machine alone, and everybody is the same user, who reads all cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from vireid.app.models import (
    CaseEdit,
    CaseHitInfo,
    CaseInfo,
    CaseList,
    CaseNoteInfo,
    CaseQueryInfo,
    CaseSummary,
    EntryInfo,
)
from vireid.app.tokens import LOCAL
from vireid.errors import NotOwnerError, NotThereError
from vireid.gallery import Gallery
from vireid.gallery.cases import Case, CaseHit, Cases, Decision

__all__ = ["CaseAccess"]


class CaseAccess:
    """The cases of a gallery, for users.

    Methods raise :class:`~vireid.errors.NotThereError` for a case that the user may not read, as
    for one that does not exist.

    Args:
        gallery: The gallery.
        name: Its name.
    """

    def __init__(self, gallery: Gallery, name: str) -> None:
        self._gallery = gallery
        self._name = name

    @property
    def _cases(self) -> Cases:
        return self._gallery.cases

    def read_all(self, user: str) -> CaseList:
        """The cases that a user may read."""
        cases, problems = self._cases.read_all()
        mine = [_summary(case, user) for case in cases if _may_read(case, user)]
        return CaseList(cases=mine, damaged=len(problems))

    def read(self, user: str, id: str) -> CaseInfo:
        """A case with its entries."""
        return self.described(self.get(user, id), user)

    def get(self, user: str, id: str, *, own: bool = False) -> Case:
        """A case as it is kept.

        Args:
            user: Who asks.
            id: The case.
            own: Whether only who opened it may do what is asked.

        Raises:
            NotOwnerError: Somebody else opened it.
        """
        case = self._cases.get(id)
        if not _may_read(case, user):
            raise NotThereError(
                f"There is no case '{id}' that you may read; expected one that you opened or that"
                " is shared."
            )
        if own and not _owns(case, user):
            raise NotOwnerError(
                f"The case '{case.id}' was opened by '{case.opened_by}'; expected them to rename,"
                " share or delete it."
            )
        return case

    def create(self, user: str, name: str) -> CaseInfo:
        """Open a case."""
        return self.described(self._cases.create(name, by=user), user)

    def edit(self, user: str, id: str, request: CaseEdit) -> CaseInfo:
        """Rename or share a case."""
        self.get(user, id, own=True)
        return self.described(self._cases.edit(id, name=request.name, shared=request.shared), user)

    def decide(self, user: str, id: str, decisions: Mapping[str, Decision]) -> CaseInfo:
        """Choose or reject entries that no search found."""
        self.get(user, id)
        hits = [CaseHit(id=one, decision=kind, by=user) for one, kind in decisions.items()]
        return self.described(self._cases.add(id, hits), user)

    def remove(self, user: str, id: str, ids: list[str]) -> CaseInfo:
        """Remove hits, query images and notes."""
        self.get(user, id)
        return self.described(self._cases.remove(id, ids), user)

    def note(self, user: str, id: str, text: str) -> CaseInfo:
        """Add a note."""
        self.get(user, id)
        return self.described(self._cases.note(id, text, by=user), user)

    def delete(self, user: str, id: str) -> None:
        """Delete a case."""
        self.get(user, id, own=True)
        self._cases.delete(id)

    def report(self, user: str, id: str, format: str) -> tuple[bytes, Case]:
        """The report of a case, and the case."""
        # A slow import that few need.
        from vireid.reports.case import case_report, render_report

        case, now = self.get(user, id), datetime.now(UTC).replace(microsecond=0)
        report = case_report(
            case, self._gallery, name=self._name, user=user, asked=now, paths=False
        )
        return render_report(report, f".{format}"), case

    def described(self, case: Case, user: str) -> CaseInfo:
        """A case with what the gallery knows of its entries."""
        infos = self._gallery.infos(case.image_ids)
        entries = {id: EntryInfo.model_validate(info) for id, info in infos.items()}
        return CaseInfo(
            case=_summary(case, user),
            queries=[
                CaseQueryInfo(
                    id=one.id, name=one.name, by=one.by, time=one.time, entry=entries.get(one.id)
                )
                for one in case.queries
            ],
            hits=[
                CaseHitInfo(
                    decision=hit.decision,
                    by=hit.by,
                    time=hit.time,
                    score=hit.score,
                    verdict=hit.verdict,
                    entry=entries[hit.id],
                )
                for hit in case.hits
                if hit.id in entries
            ],
            notes=[CaseNoteInfo.model_validate(note) for note in case.notes],
        )


def _owns(case: Case, user: str) -> bool:
    return user in {LOCAL, case.opened_by}


def _may_read(case: Case, user: str) -> bool:
    return case.shared or _owns(case, user)


def _summary(case: Case, user: str) -> CaseSummary:
    return CaseSummary(
        id=case.id,
        name=case.name,
        opened_by=case.opened_by,
        opened=case.opened,
        changed=case.changed,
        shared=case.shared,
        own=_owns(case, user),
        queries=len(case.queries),
        chosen=case.count("chosen"),
        rejected=case.count("rejected"),
        notes=len(case.notes),
        deleted=case.deleted,
    )
