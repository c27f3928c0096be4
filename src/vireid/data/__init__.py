"""From files on disk to batches: layouts, images, the cross-modal sampler, augmentation."""
