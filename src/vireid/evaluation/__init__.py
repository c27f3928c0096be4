"""Protocols, metrics and results; works on features and labels, never on a network."""

from vireid.evaluation.analysis import Details, search
from vireid.evaluation.bootstrap import Interval
from vireid.evaluation.chance import Chance
from vireid.evaluation.compare import Comparison, Difference, compare
from vireid.evaluation.external import ExternalFeatures, score_features
from vireid.evaluation.pool import pool
from vireid.evaluation.protocol import Protocol, Trial
from vireid.evaluation.protocols import Settings, protocols_for, validation
from vireid.evaluation.ranking import Ranking
from vireid.evaluation.reranking import KReciprocal, PluginReranker, QueryExpansion, Reranker
from vireid.evaluation.result import Result, TrialScore, table
from vireid.evaluation.scoring import evaluate, evaluate_with_search

__all__ = [
    "Chance",
    "Comparison",
    "Details",
    "Difference",
    "ExternalFeatures",
    "Interval",
    "KReciprocal",
    "PluginReranker",
    "Protocol",
    "QueryExpansion",
    "Ranking",
    "Reranker",
    "Result",
    "Settings",
    "Trial",
    "TrialScore",
    "compare",
    "evaluate",
    "evaluate_with_search",
    "pool",
    "protocols_for",
    "score_features",
    "search",
    "table",
    "validation",
]
