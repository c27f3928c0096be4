"""Figures and the report page; made without pyplot, so nothing global changes."""

from vireid.plots.attention import POSITIONS, AttentionPanel, Position, attention_figure
from vireid.plots.cmc import cmc_figure
from vireid.plots.details import camera_pair_figure, similarity_figure
from vireid.plots.evaluation import write_evaluation
from vireid.plots.ranking import Hit, RankingList, ranking_figure, ranking_lists
from vireid.plots.report import FigureSection, Picture, Step, Table, write_report
from vireid.plots.style import png
from vireid.plots.training import training_figure

__all__ = [
    "POSITIONS",
    "AttentionPanel",
    "FigureSection",
    "Hit",
    "Picture",
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
