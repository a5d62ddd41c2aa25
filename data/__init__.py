"""Tasks, sources, tokenisation, augmentation, store and batches. Knows no model."""
