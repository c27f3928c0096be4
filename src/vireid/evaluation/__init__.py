"""Protocols, metrics and results; knows descriptors and labels, never a network."""

from vireid.evaluation.chance import Chance
from vireid.evaluation.protocols import Protocol, Trial, protocols_for
from vireid.evaluation.result import Result, TrialScore, table
from vireid.evaluation.scoring import evaluate

__all__ = [
    "Chance",
    "Protocol",
    "Result",
    "Trial",
    "TrialScore",
    "evaluate",
    "protocols_for",
    "table",
]
