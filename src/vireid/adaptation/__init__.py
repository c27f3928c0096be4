"""Adaptation of a network to unlabelled images of both modalities.

Each round clusters the images of each modality by themselves, matches the clusters across the
modalities, and trains an epoch on the labels found. Sources of the parts: clustering each modality
and contrast with a memory of cluster centres, Yang et al., "Augmented Dual-Contrastive Aggregation
Learning for Unsupervised Visible-Infrared Person Re-Identification" (ADCA), ACM MM 2022; matching
clusters progressively, Wu and Ye, "Unsupervised Visible-Infrared Person Re-Identification via
Progressive Graph Matching and Alternate Learning" (PGM), CVPR 2023.
"""

from vireid.adaptation.loop import adapt

__all__ = ["adapt"]
