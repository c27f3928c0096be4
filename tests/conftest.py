"""What all tests need before they are collected."""

import sys
from pathlib import Path

from hypothesis import settings

# So that `tests.helpers` can be imported however pytest is started.
sys.path.insert(0, str(Path(__file__).parents[1]))

# Two cores shared with others: a slow example is no failure.
settings.register_profile("vireid", deadline=None)
settings.load_profile("vireid")
