"""What tests of your own methods need: the contract of methods, and tiny data to train on."""

from vireid.testing.people import write_people
from vireid.testing.runs import WALL_CLOCK, metrics, same_run

__all__ = ["WALL_CLOCK", "metrics", "same_run", "write_people"]
