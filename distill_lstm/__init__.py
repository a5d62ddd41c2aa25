"""Distils fine-tuned BERTs into Bi-LSTMs (Tang et al. 2019)."""
