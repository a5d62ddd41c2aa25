"""Losses, teacher outputs, training loop, evaluation, checkpoints, static graphs."""
