"""Range checks for the options of the methods."""

from __future__ import annotations

from vireid.errors import ConfigError

__all__ = ["check_non_negative", "check_positive"]


def check_non_negative(options: object, *names: str) -> None:
    """Refuse negative numbers.

    Args:
        options: A dataclass of options.
        names: The fields to check.

    Raises:
        ConfigError: If one is below 0, or NaN.
    """
    for name in names:
        value = getattr(options, name)
        if not value >= 0:
            raise ConfigError(f"'{value}' is below 0; expected 0 or more ({_flag(name)}).")


def check_positive(options: object, *names: str) -> None:
    """Refuse numbers that are not above 0.

    Args:
        options: A dataclass of options.
        names: The fields to check.

    Raises:
        ConfigError: If one is 0 or below, or NaN.
    """
    for name in names:
        value = getattr(options, name)
        if not value > 0:
            raise ConfigError(f"'{value}' is not above 0; expected more than 0 ({_flag(name)}).")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
