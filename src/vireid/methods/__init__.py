"""Methods of the field: one paper, one module, its citation on top and its recipe below.

Adding a method is one module with a :class:`MethodConfig` and a :class:`Method`, one name in
:data:`AnyMethod`, and its recipes in :func:`catalogue`.
"""

from typing import Annotated, TypeAlias

from pydantic import Field

from vireid.methods import (
    agw,
    bdtr,
    caj,
    cmgan,
    d2rl,
    dlis,
    hcml,
    mgn,
    pcb,
    tone,
    tslfn,
    zero_padding,
)
from vireid.methods.agw import AGW, AGWConfig
from vireid.methods.bdtr import BDTR, BDTRConfig
from vireid.methods.catalogue import Entry, catalogue
from vireid.methods.cmgan import CmGAN, CmGANConfig
from vireid.methods.d2rl import D2RL, D2RLConfig
from vireid.methods.dlis import DLIS, DLISConfig
from vireid.methods.hcml import HCML, HCMLConfig
from vireid.methods.method import Losses, Method, MethodConfig, OptimizerStep, Phase
from vireid.methods.mgn import MGN, MGNConfig
from vireid.methods.pcb import PCB, PCBConfig
from vireid.methods.recipe import Batch, Optimisation, Paper, Recipe, on_cpu
from vireid.methods.tone import TONE, TONEConfig
from vireid.methods.zero_padding import ZeroPadding, ZeroPaddingConfig

__all__ = [
    "AGW",
    "BDTR",
    "D2RL",
    "DLIS",
    "HCML",
    "MGN",
    "PCB",
    "TONE",
    "AGWConfig",
    "AnyMethod",
    "BDTRConfig",
    "Batch",
    "CmGAN",
    "CmGANConfig",
    "D2RLConfig",
    "DLISConfig",
    "Entry",
    "HCMLConfig",
    "Losses",
    "MGNConfig",
    "Method",
    "MethodConfig",
    "Optimisation",
    "OptimizerStep",
    "PCBConfig",
    "Paper",
    "Phase",
    "Recipe",
    "TONEConfig",
    "ZeroPadding",
    "ZeroPaddingConfig",
    "agw",
    "bdtr",
    "caj",
    "catalogue",
    "cmgan",
    "d2rl",
    "dlis",
    "hcml",
    "mgn",
    "on_cpu",
    "pcb",
    "tone",
    "tslfn",
    "zero_padding",
]

AnyMethod: TypeAlias = Annotated[
    ZeroPaddingConfig
    | DLISConfig
    | AGWConfig
    | PCBConfig
    | MGNConfig
    | CmGANConfig
    | TONEConfig
    | HCMLConfig
    | BDTRConfig
    | D2RLConfig,
    Field(discriminator="kind"),
]
"""The options of any method; a config.yaml says by ``kind`` whose they are."""
