"""TSLFN with hetero-center loss.

Y. Zhu, Z. Yang, L. Wang, S. Zhao, X. Hu, D. Tao: "Hetero-Center Loss for Cross-Modality Person
Re-Identification", Neurocomputing 2020.

The idea: two ResNet-50 streams, six horizontal stripes, cross-entropy and hetero-center loss on
each: DLIS without PALM, and that is what the code says.
"""

from vireid.methods.dlis import DLISConfig, dlis, dlis_strong, without_palm
from vireid.methods.recipe import Recipe

__all__ = ["tslfn", "tslfn_strong"]


def tslfn() -> Recipe[DLISConfig]:
    """TSLFN as published: the ``dlis`` recipe with PALM off."""
    return without_palm(dlis())


def tslfn_strong() -> Recipe[DLISConfig]:
    """The ``dlis-strong`` recipe with PALM off: what PALM is compared with."""
    return without_palm(dlis_strong())
