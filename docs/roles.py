"""Docstrings for the API reference: Sphinx roles become code."""

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Replace the roles in all docstrings."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace those of one object."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r":(?:attr|class|data|func|meth|mod):`(~?)([\w.]+)`", _as_code, obj.docstring.value
            )


def _as_code(role: re.Match[str]) -> str:
    """The name, without its module where the role says so with a tilde."""
    return f"`{role[2].rpartition('.')[2] if role[1] else role[2]}`"
