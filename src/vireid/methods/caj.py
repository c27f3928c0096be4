"""CAJ: channel-augmented joint learning on AGW's network.

M. Ye, W. Ruan, B. Du, M. Z. Shou: "Channel Augmented Joint Learning for Visible-Infrared
Recognition", ICCV 2021.

The idea: the modalities do not share colour, so the network is trained without it. Each visible
image is in a batch twice: unchanged, and with its red, green or blue channel repeated three times,
which resembles an infrared image. Random rectangles are erased in both modalities, and the triplet
loss of AGW squares its differences. The network is that of AGW, whose class this module uses.

    visible ─┬─ unchanged ──────────────── stem_v ─┐
             └─ one channel, three times ─ stem_v ─┼─ AGW's trunk ─ GeM ─┬─ squared WRT
    infrared ───────────────────────────── stem_t ─┘                     └─ BN ─ CE

    L = CE + mean_a log(1 + exp( g_a |g_a| )),   g_a: anchor a's weighted positive distance minus
                                                 its weighted negative distance

Published (ResNet-50 from ImageNet, R-1/mAP; from the authors' repository, not measured here):
SYSU-MM01 all-search single-shot, seeded draw, 69.88/66.89; RegDB visible to thermal 85.03/79.14.
These are with flip test-time augmentation (the mean feature of an image and its mirror image):
to be compared with `vireid evaluate --flip`, not without.

Where the released code differs: it replaces channels after the normalisation, here before, so that
the result has exactly three equal channels, as an infrared image does; it also replaces those of
infrared images, which only changes the normalisation of equal channels, and is omitted; erased
rectangles are ImageNet's mean, as summaries of the paper say (the code fills in the mean of another
data set, without normalisation); a squared difference above 88 has a gradient (there it has none);
the triplets are weighted as the paper says (released_weights=True weighs and clips them as the code
does). See also AGW.

With ResNet-50 and 395 identities: 31,689,089 parameters, features of 2048 values.

Example:
    >>> recipe().augmentation.joint, recipe().method.squared
    (True, True)
"""

from dataclasses import replace

from vireid.data.transforms import Augmentation
from vireid.methods import agw
from vireid.methods.agw import AGWConfig
from vireid.methods.recipe import Paper, Recipe

__all__ = ["PAPER", "recipe"]

PAPER = Paper(
    name="CAJ",
    authors="Ye et al.",
    title="Channel Augmented Joint Learning for Visible-Infrared Recognition",
    venue="ICCV",
    year=2021,
)


def recipe() -> Recipe[AGWConfig]:
    """CAJ as published: the recipe of AGW, longer, with joint views and squared triplet loss."""
    base = agw.recipe()
    return replace(
        base,
        method=replace(base.method, squared=True),
        augmentation=Augmentation(erasing=0.5, grey=False, joint=True),
        optimisation=replace(base.optimisation, epochs=100),
    )
