"""BERT and Bi-LSTM: build, load, save - nothing else."""

from models.folder import LoadedModel, load, save

__all__ = ["LoadedModel", "load", "save"]
