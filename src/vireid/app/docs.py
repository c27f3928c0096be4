"""The reference of the REST API as a page without scripts, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

__all__ = ["render_docs"]


def render_docs(document: Mapping[str, Any]) -> str:
    """Render an OpenAPI document as HTML.

    Args:
        document: The document; references are to its ``components/schemas``.
    """
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}: REST")
    operations = [
        part
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for part in _operation(method, path, operation)
    ]
    schemas = [
        part
        for name, schema in document["components"]["schemas"].items()
        for part in (f'<h3 id="{escape(name)}">{escape(name)}</h3>', _fields(schema))
    ]
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            '<link rel="stylesheet" href="../page/app.css"></head><body class="docs"><main>',
            f"<h1>{title}</h1><p>{escape(info['description'])}</p>",
            '<p>The same for programs: <a href="openapi.json">openapi.json</a>. With tokens, each'
            " request needs <code>Authorization: Bearer TOKEN</code>.</p>",
            *operations,
            "<h2>Schemas</h2>",
            *schemas,
            "</main></body></html>",
        ]
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
    yield f"<p>{escape(operation.get('description', operation.get('summary', '')))}</p>"
    if parameters := operation.get("parameters"):
        yield _table(
            (p["name"], p["in"], _type(p["schema"]), p.get("description", "")) for p in parameters
        )
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body, {escape(media)}: {_type(body['schema'])}</p>"
    answers = [
        f"{escape(status)}: {escape(answer['description'])}"
        + "".join(
            f" {_type(body['schema'])}"
            for body in answer.get("content", {}).values()
            if body.get("schema")
        )
        for status, answer in operation["responses"].items()
    ]
    yield f"<details><summary>Responses</summary><p>{'<br>'.join(answers)}</p></details>"


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = (
        (name, "required" if name in required else "", _type(field), field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    )
    text = f"<p>{escape(schema.get('description', ''))}</p>"
    return text + (_table(rows) if schema.get("properties") else f"<p>{_type(schema)}</p>")


def _table(rows: Iterator[tuple[str, str, str, str]]) -> str:
    """A table; the third cell is HTML."""
    body = "".join(
        f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{escape(where)}</td>"
        f"<td>{kind}</td><td>{escape(description)}</td></tr>"
        for name, where, kind, description in rows
    )
    return f"<div class='scroll'><table><tbody>{body}</tbody></table></div>"


def _type(schema: Mapping[str, Any]) -> str:
    """The type of a value in HTML, with a link to its schema."""
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if choices := schema.get("anyOf") or schema.get("allOf"):
        return " or ".join(map(_type, choices))
    if values := schema.get("enum"):
        return escape(", ".join(map(str, values)))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    form = schema.get("format") or schema.get("contentMediaType")
    return escape(
        str(schema.get("const", schema.get("type", "any"))) + (f" ({form})" if form else "")
    )
