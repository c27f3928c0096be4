"""``vireid gallery save-search``: searches that `vireid watch` compares arrivals with."""

from __future__ import annotations

import contextlib
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from vireid.cli._flags import Switch
from vireid.cli._images import load_for_gallery, print_converted
from vireid.cli.entries import EntryFilters
from vireid.cli.gallery_search import Query
from vireid.cli.serve import QueryLogging
from vireid.errors import ConfigError
from vireid.gallery import EVERYTHING, SavedSearch, open_gallery
from vireid.gallery.near_duplicates import mean_feature
from vireid.log import echo

__all__ = ["save_search"]

_LOGGING = QueryLogging()
_QUERY = Query()


def save_search(
    gallery: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")],
    name: Annotated[str, tyro.conf.Positional],
    images: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")
    ] = (),
    /,
    *,
    run: Path | None = None,
    query: Query = _QUERY,
    filters: EntryFilters = EVERYTHING,
    threshold: float | None = None,
    delete: Switch = False,
    logging: QueryLogging = _LOGGING,
) -> None:
    """Save a search in a gallery, so that `vireid watch` reports arrivals that match it.

    An arrival matches if it is likely the same person by the gallery's calibration, as a search of
    the whole gallery would say, or if its score reaches --threshold. The gallery keeps the feature
    of the query, not its images; `vireid gallery info` lists the names.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        name: Name of the search; one of this name is replaced.
        images: Images of one person, as for `vireid encode`.
        run: Run folder or name of the gallery's model; may be omitted if it is an installed model.
        query: Options for the query images.
        filters: Compare with entries that match these filters only; with all by default.
        threshold: Score from which an arrival matches, instead of the calibration's verdict; needed
            without a calibration and for several query images.
        delete: Delete the search of this name.
        logging: The audit log, which records what is saved and deleted.
    """
    given = images or run or query != _QUERY or filters != EVERYTHING or threshold is not None
    if delete and (given or logging.audit_images):
        raise ConfigError(
            f"--delete takes the name '{name}' alone; expected no image, filter or other option of"
            " a search with it; leave out one or the other."
        )
    with contextlib.closing(logging.open(gallery)) as audit:
        if delete:
            with open_gallery(gallery, write=True, turns=True) as opened:
                audit.write(getpass.getuser(), "delete-search", {"search": name})
                if not opened.delete_search(name):
                    known = ", ".join(search.name for search in opened.searches) or "none"
                    raise ConfigError(
                        f"'{gallery}' has no saved search '{name}'; expected one of: {known}."
                    )
            echo(f"The search '{name}' was deleted.")
            return
        listed = query.listed(images)
        extractor = load_for_gallery(run, gallery, device=query.device)
        with open_gallery(gallery, model=extractor.model_info, write=True, turns=True) as opened:
            rows, remarks = query.rows(opened, extractor, listed)
            print_converted(remarks)
            infos = [row.info for row in rows]
            modalities = {info.modality for info in infos}
            cameras = {info.camera for info in infos}
            search = SavedSearch(
                name=name,
                saved=datetime.now(UTC),
                ids=tuple(info.id for info in infos),
                modality=modalities.pop() if len(modalities) == 1 else None,
                camera=cameras.pop() if len(cameras) == 1 else "",
                vector=SavedSearch.encoded(mean_feature(np.stack([row.feature for row in rows]))),
                threshold=threshold,
                filters=filters,
            )
            if threshold is None and (len(rows) > 1 or not opened.calibration):
                problem = (
                    f"of {len(rows)} images cannot be decided by a calibration, which is for one"
                    if len(rows) > 1
                    else f"needs a calibration, which '{gallery}' does not have"
                )
                raise ConfigError(
                    f"The search '{name}' {problem}; expected --threshold, a score as"
                    " `vireid gallery search` prints them, or one image and"
                    " `vireid gallery calibrate`."
                )
            details = {"search": name, "queries": [info.sha256 for info in infos]}
            thumbnails = [row.thumbnail for row in rows]
            audit.write(getpass.getuser(), "save-search", details, thumbnails=thumbnails)
            opened.save_search(search)
    how = "is likely the same person" if threshold is None else f"scores {threshold:g} or more"
    echo(f"The search '{name}' is saved: `vireid watch` reports an arrival that {how}.")
