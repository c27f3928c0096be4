"""How flags appear on the command line."""

from typing import Annotated, TypeAlias

import tyro

__all__ = ["DEFAULT", "Switch"]

DEFAULT = tyro.conf.arg(help_behavior_hint="(default: {})".format)
"""Shows the default of a parameter of a constructor function."""

Switch: TypeAlias = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is off by default and only turns something on, such as ``--json``. Every other bool
is offered as a pair, such as ``--flip, --no-flip``, so that its help holds for both."""
