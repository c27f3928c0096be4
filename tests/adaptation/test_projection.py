"""Embeddings that start as principal components."""

import torch

from vireid.adaptation.projection import Pooled
from vireid.nn import StripeHeads


def test_distances_of_the_components_are_kept() -> None:
    torch.manual_seed(0)
    heads = StripeHeads(32, stripes=2, dim=8, classes=3).eval()
    # Two modalities apart from each other, whose images differ in six dimensions.
    images = torch.randn(2, 20, 2, 6) @ torch.randn(6, 32)
    pooled = (images + 5 * torch.randn(2, 1, 1, 32)).flatten(0, 1)
    with Pooled(heads, 20) as seen:
        heads(pooled)
    seen.project(seed=1)
    embedded = torch.einsum("npc,pcd->npd", pooled, heads.weight)
    for part in (slice(0, 20), slice(20, 40)):
        for stripe in range(2):
            given = torch.pdist(pooled[part, stripe])
            found = torch.pdist(embedded[part, stripe])
            ratio = found / given
            torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    spread = embedded[:20].var(dim=0)
    assert (spread.amax(1) / spread.amin(1) < 100).all()
