"""Hooks of mkdocs: what the pages need to be read in a browser as well as on GitHub.

Links to files outside the documentation become their names. A link whose text is a file's name gets
the title of that page. Drawings are embedded, so that they take the colours of the page. Notebooks
and the cards of models become pages.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_OUTSIDE = re.compile(
    r"\[([^\]]+)\]\((?:(?:\.\./)+(?:deploy|models|src|tests|CONTRIBUTING|README)[^)]*|[\w/]+\.py)\)"
)
_NAMED = re.compile(r"\[[\w/]+\.md\](\(([\w/.]+\.md)(?:#[^)]*)?\))")
_CARD = re.compile(r"\]\(\.\./models/src/vireid_models/([\w-]+)/MODEL_CARD\.md\)")
_NOTEBOOK = re.compile(r"(\]\([\w/.]+)\.ipynb\)")
_DRAWING = re.compile(r'<img [^>]*src="(?:\.\./)*images/([\w-]+)\.svg"[^>]*>')


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made of other files."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            text = _markdown(json.loads(file.content_string), Path(file.src_uri).name)
            uri = file.src_uri.replace(".ipynb", ".md")
            files.append(File.generated(config, uri, content=text))
    for card in sorted(_ROOT.glob("models/src/vireid_models/*/MODEL_CARD.md")):
        uri = f"cards/{card.parent.name}.md"
        files.append(File.generated(config, uri, content=card.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Replace the links of a page."""

    def titled(link: re.Match[str]) -> str:
        target = files.get_file_from_path(
            posixpath.normpath(f"{Path(page.file.src_uri).parent}/{link[2]}")
        )
        title = target.page.title if target and target.page else None
        return f"[{title}]{link[1]}" if title else link[0]

    markdown = _CARD.sub(r"](cards/\1.md)", _NOTEBOOK.sub(r"\1.md)", markdown))
    return _NAMED.sub(titled, _OUTSIDE.sub(r"\1", markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Embed the drawings of a page; on a phone they scroll instead of shrinking."""

    def embedded(image: re.Match[str]) -> str:
        drawing = (_ROOT / f"docs/images/{image[1]}.svg").read_text(encoding="utf-8")
        return f'<span class="drawing-frame">{drawing}</span>'

    return _DRAWING.sub(embedded, html)


def _markdown(notebook: dict[str, Any], name: str) -> str:
    """The cells of a notebook as a page."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    title, *rest = parts
    return "\n\n".join([title, f'<a href="../{name}" download>Download the notebook</a>.', *rest])
