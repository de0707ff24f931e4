"""From files to batches: sources of pairs, their augmentation, and the pipeline."""
