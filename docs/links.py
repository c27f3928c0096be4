"""A hook of mkdocs: links to files outside the documentation become their names.

On GitHub and in an editor they work; the built pages have no such files.
"""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:deploy|models|src|tests)/[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the links of a page."""
    return _OUTSIDE.sub(r"\1", markdown)
