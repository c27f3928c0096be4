"""Figures and the report page; made without pyplot, so nothing global changes."""

from vireid.reports.attention import POSITIONS, AttentionPanel, Position, attention_figure
from vireid.reports.cmc import cmc_figure
from vireid.reports.details import camera_pair_figure, similarity_figure
from vireid.reports.evaluation_page import write_evaluation
from vireid.reports.ranking_lists import Hit, RankingList, ranking_figure, ranking_lists
from vireid.reports.report import EmbeddedFigure, FigureSection, Step, Table, write_report
from vireid.reports.style import png
from vireid.reports.training_curves import training_figure

__all__ = [
    "POSITIONS",
    "AttentionPanel",
    "EmbeddedFigure",
    "FigureSection",
    "Hit",
    "Position",
    "RankingList",
    "Step",
    "Table",
    "attention_figure",
    "camera_pair_figure",
    "cmc_figure",
    "png",
    "ranking_figure",
    "ranking_lists",
    "similarity_figure",
    "training_figure",
    "write_evaluation",
    "write_report",
]
