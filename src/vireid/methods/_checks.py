"""Checks that the options of several methods share."""

from __future__ import annotations

from vireid.errors import ConfigError

__all__ = ["not_negative", "positive"]


def not_negative(options: object, *names: str) -> None:
    """Refuse numbers below 0.

    Args:
        options: A dataclass of options.
        names: The fields that are looked at.

    Raises:
        ConfigError: If one is below 0, or not a number.
    """
    for name in names:
        if not getattr(options, name) >= 0:
            raise ConfigError(
                f"'{getattr(options, name)}' is below 0; expected 0 or more ({_flag(name)})."
            )


def positive(options: object, *names: str) -> None:
    """Refuse numbers that are not above 0.

    Args:
        options: A dataclass of options.
        names: The fields that are looked at.

    Raises:
        ConfigError: If one is 0 or below, or not a number.
    """
    for name in names:
        if not getattr(options, name) > 0:
            raise ConfigError(
                f"'{getattr(options, name)}' is not above 0; expected more than 0 ({_flag(name)})."
            )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
