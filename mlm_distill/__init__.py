"""Distillation of masked language models: corpora of instances, so far; see the TODO in docs/mlm_distill.md."""
