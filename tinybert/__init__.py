"""TinyBERT: distillation of a BERT's layers into a smaller BERT, on raw text and on a task."""
