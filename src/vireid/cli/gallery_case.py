"""``vireid gallery case COMMAND GALLERY``: what people decided on the results of searches."""

from __future__ import annotations

import contextlib
import getpass
import json as plain
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.extras import SubcommandApp

from vireid.cli._flags import Switch
from vireid.cli.serve import Logging
from vireid.errors import ConfigError, first_few, many
from vireid.evaluation.markdown import markdown_table
from vireid.files import write_atomic
from vireid.gallery import Gallery, open_gallery
from vireid.gallery._payload import is_id
from vireid.gallery.cases import Case, CaseHit, Cases, Decision
from vireid.log import echo, log, printable
from vireid.openset.decisions import keep_search
from vireid.openset.record import case_record
from vireid.openset.search import SearchResult
from vireid.times import format_time
from vireid.types import ImageInfo

__all__ = [
    "Decisions",
    "add",
    "app",
    "case_state",
    "delete",
    "edit",
    "listed",
    "new",
    "note",
    "remove",
    "report",
    "show",
]

Place = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")]
Named = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CASE")]
Ids = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ID...")]

SUMMARY = "Keep what was found of one person, with decisions and notes."
"""The help of the commands."""

_COLUMNS = (
    *("decision", "score", "verdict", "camera", "time", "modality", "identity", "tracklet"),
    *("note", "name", "by", "decided_by", "decided", "id"),
)
"""What the tables of queries and hits show."""

_LOGGING = Logging()


def app() -> SubcommandApp:
    """``vireid gallery case`` with its sub-commands."""
    verbs = SubcommandApp()
    verbs.command(name="list")(listed)
    for verb in (show, new, edit, add, remove, note, report, delete):
        verbs.command(verb)
    return verbs


def listed(gallery: Place, /, *, json: Switch = False, logging: Logging = _LOGGING) -> list[Case]:
    """List the cases of a gallery, the last changed one first.

    Args:
        gallery: A folder.
        json: Print JSON instead of a table.
        logging: The audit log.

    Returns:
        The cases.
    """
    with open_gallery(gallery) as opened:
        cases, problems = opened.cases.read_all()
        _record(logging, opened, "case-list", {"cases": len(cases)})
    for problem in problems:
        log(problem)
    if json:
        echo(plain.dumps([_summary(case) for case in cases], indent=2))
    elif cases:
        summaries = map(_summary, cases)
        lines = [[printable(str(value)) for value in one.values()] for one in summaries]
        echo(markdown_table([[*_summary(cases[0])], *lines], left=3))
    else:
        echo(f"'{gallery}' has no cases. Open one with `vireid gallery case new`.")
    return cases


def show(
    gallery: Place, case: Named, /, *, json: Switch = False, logging: Logging = _LOGGING
) -> Case:
    """Print a case: its queries, chosen and rejected hits, and notes.

    Args:
        gallery: A folder.
        case: The id or the name of the case.
        json: Print JSON.
        logging: The audit log.

    Returns:
        The case.
    """
    with open_gallery(gallery) as opened:
        found = opened.cases.find(case)
        record = case_record(found, opened.infos(found.image_ids))
        _record(logging, opened, "case-show", {"case": found.id})
    echo(plain.dumps(record, indent=2) if json else _as_text(record))
    return found


def new(gallery: Place, name: Named, /, *, logging: Logging = _LOGGING) -> Case:
    """Open a case.

    Args:
        gallery: A folder.
        name: Its name.
        logging: The audit log.

    Returns:
        The case.
    """
    user = getpass.getuser()
    with (
        open_gallery(gallery, write=True, turns=True) as opened,
        contextlib.closing(logging.open(gallery)) as audit,
        audit.change(user, "case-new", {}) as event,
    ):
        made = opened.cases.create(name, by=user)
        event["case"] = made.id
    echo(f"The case '{made.name}' is open; its id is {made.id}.")
    return made


def edit(
    gallery: Place,
    case: Named,
    /,
    *,
    name: str | None = None,
    shared: Literal["yes", "no"] | None = None,
    logging: Logging = _LOGGING,
) -> Case:
    """Change the name of a case, or who may read it on the page.

    Args:
        gallery: A folder.
        case: The id or the name of the case.
        name: New name.
        shared: Whether everybody with a token of the server may read and change it; otherwise only
            who opened it may.
        logging: The audit log.

    Returns:
        The case.
    """
    if name is None and shared is None:
        raise ConfigError("nothing to change is given; expected --name, --shared or both.")
    values = {"shared": shared == "yes"} if shared else {}
    with _changing(gallery, case, logging, "case-edit", values) as (cases, id):
        found = cases.edit(id, name=name, **values)
    echo(case_state(found))
    return found


def add(
    gallery: Place,
    case: Named,
    ids: Ids,
    /,
    *,
    reject: Switch = False,
    logging: Logging = _LOGGING,
) -> Case:
    """Add entries to a case without a search; `vireid gallery search --case` keeps its scores.

    Args:
        gallery: A folder.
        case: The id or the name of the case.
        ids: Ids of entries, as shown by `vireid gallery search --json`.
        reject: Add them as rejected: they do not show the person.
        logging: The audit log.

    Returns:
        The case.
    """
    _check_ids(ids)
    decision: Decision = "rejected" if reject else "chosen"
    by = getpass.getuser()
    with _changing(gallery, case, logging, "case-add", {decision: ids}) as (cases, id):
        found = cases.add(id, [CaseHit(id=one, decision=decision, by=by) for one in ids])
    echo(case_state(found))
    return found


def remove(gallery: Place, case: Named, ids: Ids, /, *, logging: Logging = _LOGGING) -> Case:
    """Remove hits, query images and notes from a case.

    Args:
        gallery: A folder.
        case: The id or the name of the case.
        ids: Their ids, as shown by `vireid gallery case show`.
        logging: The audit log.

    Returns:
        The case.
    """
    _check_ids(ids)
    with _changing(gallery, case, logging, "case-remove", {"removed": ids}) as (cases, id):
        found = cases.remove(id, ids)
    echo(case_state(found))
    return found


def note(
    gallery: Place,
    case: Named,
    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")],
    /,
    *,
    logging: Logging = _LOGGING,
) -> Case:
    """Add a note to a case.

    Args:
        gallery: A folder.
        case: The id or the name of the case.
        text: The note.
        logging: The audit log.

    Returns:
        The case.
    """
    with _changing(gallery, case, logging, "case-note", {}) as (cases, id):
        found = cases.note(id, text, by=getpass.getuser())
    echo(case_state(found))
    return found


def delete(gallery: Place, case: Named, /, *, logging: Logging = _LOGGING) -> None:
    """Delete a case for good; the entries stay in the gallery.

    Args:
        gallery: A folder.
        case: The id or the name of the case; the id of a damaged one.
        logging: The audit log.
    """
    with _changing(gallery, case, logging, "case-delete", {}) as (cases, id):
        cases.delete(id)
    echo(f"The case {id} was deleted.")


def report(gallery: Place, case: Named, /, *, out: Path, logging: Logging = _LOGGING) -> Path:
    """Write the report of a case: queries, hits, times, scores, verdicts, notes, and who asked.

    The page shows the chosen hits with a timeline; of rejected ones, which are other people, no
    images. The audit log records the report.

    Args:
        gallery: A folder.
        case: The id or the name of the case.
        out: Output file, by its ending .html (self-contained), .csv or .json.
        logging: The audit log.

    Returns:
        The file.
    """
    # A slow import that few need.
    from vireid.reports.case import case_report, check_ending, render_report

    check_ending(out.suffix.lower())
    user, now = getpass.getuser(), datetime.now(UTC).replace(microsecond=0)
    with open_gallery(gallery) as opened:
        found = opened.cases.find(case)
        made = case_report(found, opened, name=gallery, user=user, asked=now)
        page = render_report(made, out.suffix.lower())
        details = {"case": found.id, "file": str(out), "results": len(found.hits)}
        _record(logging, opened, "case-report", details)
    write_atomic(out, page)
    echo(f"The report is '{out}'.")
    return out


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Decisions on results, kept in a case."""

    case: str = ""
    """Keep the query in the case with this id or name, and print the ids of the results."""
    choose: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Keep the result with this id as chosen, with its score and verdict; a tracklet whole."""
    reject: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Keep the result with this id as rejected: it does not show the person."""

    def check(self) -> None:
        """Refuse decisions without a case.

        Raises:
            ConfigError: There is no case, or a result is both chosen and rejected.
        """
        if (self.choose or self.reject) and not self.case:
            raise ConfigError("--choose and --reject need a case; expected --case with them.")
        if both := set(self.choose).intersection(self.reject):
            raise ConfigError(
                f"--choose and --reject both name {first_few(sorted(both))}; expected one of them."
            )

    def keep(
        self,
        gallery: Gallery,
        case: str,
        queries: Sequence[ImageInfo],
        found: SearchResult,
        logging: Logging,
    ) -> Case:
        """Keep a search in the case with this id, and record it in the audit log."""
        tracklets = {
            hit.info.id: [one.info.id for one in group] if hit.info.tracklet else [hit.info.id]
            for group in found.groups
            for hit in group
        }
        chosen, rejected = (
            [id for one in given for id in tracklets.get(one, [one])]
            for given in (self.choose, self.reject)
        )
        decisions: dict[str, Decision] = {
            **dict.fromkeys(chosen, "chosen"),
            **dict.fromkeys(rejected, "rejected"),
        }
        user = getpass.getuser()
        details = {
            "case": case,
            "queries": [info.sha256 for info in queries],
            "chosen": chosen,
            "rejected": rejected,
        }
        with (
            contextlib.closing(logging.open(gallery.location)) as audit,
            audit.change(user, "case-add", details),
        ):
            return keep_search(gallery, case, queries, found, decisions, by=user)


@contextlib.contextmanager
def _changing(
    gallery: str, case: str, logging: Logging, action: str, details: Mapping[str, Any]
) -> Iterator[tuple[Cases, str]]:
    """The cases of a gallery and the id of one, for a change that the audit log records."""
    with open_gallery(gallery, write=True, turns=True) as opened:
        # A damaged case has an id too.
        id = case if is_id(case) else opened.cases.find(case).id
        with (
            contextlib.closing(logging.open(gallery)) as audit,
            audit.change(getpass.getuser(), action, {"case": id, **details}),
        ):
            yield opened.cases, id


def _check_ids(ids: Sequence[str]) -> None:
    if not ids:
        raise ConfigError("No id is given; expected one or more after the case.")


def _record(logging: Logging, gallery: Gallery, action: str, details: dict[str, Any]) -> None:
    """Log that cases were read."""
    with contextlib.closing(logging.open(gallery.location)) as audit:
        audit.write(getpass.getuser(), action, details)


def _summary(case: Case) -> dict[str, Any]:
    """A row of the list of cases."""
    return {
        "case": case.name,
        "id": case.id,
        "opened by": case.opened_by,
        "changed (UTC)": format_time(case.changed, sep=" "),
        "queries": len(case.queries),
        "chosen": case.count("chosen"),
        "rejected": case.count("rejected"),
        "notes": len(case.notes),
        "deleted": case.deleted,
    }


def case_state(case: Case) -> str:
    """A case in one line."""
    parts = [
        many(len(case.queries), "query image"),
        f"{case.count('chosen'):,} chosen",
        f"{case.count('rejected'):,} rejected",
        many(len(case.notes), "note"),
    ]
    return f"The case '{printable(case.name)}' holds {', '.join(parts)}."


def _as_text(record: dict[str, Any]) -> str:
    """A case in words and tables."""
    who = "everybody with a token" if record["shared"] else "who opened it"
    lines = [
        f"Case '{printable(record['name'])}' ({record['case']})",
        f"opened by {printable(record['opened_by'])} at {record['opened']}, last changed at"
        f" {record['changed']}; on the page for {who}",
    ]
    if record["deleted"]:
        images = many(record["deleted"], "image was", "images were")
        lines.append(f"{images} deleted from the gallery.")
    for title, kept in (("Queries", record["queries"]), ("Hits", record["hits"])):
        if kept:
            rows = [{name: _cell(value) for name, value in one.items()} for one in kept]
            head = [name for name in _COLUMNS if any(row.get(name) for row in rows)]
            table = [head, *([row.get(name, "") for name in head] for row in rows)]
            lines += ["", f"{title}:", "", markdown_table(table, left=len(head))]
    for note in record["notes"]:
        lines += ["", f"{note['time']} {printable(note['by'])} ({note['id']}):", note["text"]]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(value)
    return printable(str(value or ""))
