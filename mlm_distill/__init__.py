"""Distillation of masked language models, from raw text to a small encoder; see docs/mlm_distill.md."""
