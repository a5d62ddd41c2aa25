"""Options of the teacher's fine-tuning; names as in Paddle's ``run_glue.py``."""

from __future__ import annotations

from dataclasses import dataclass

from args import ClassifierOptions, not_negative, option, positive


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(ClassifierOptions):
    """Options of ``finetune.run_classifier``."""

    model_type: str = option("bert", "the architecture", choices=("bert",))
    model_name_or_path: str = option(
        "all-MiniLM-L6-v2",
        "a folder with safetensors, the bundled all-MiniLM-L6-v2, or a name that PaddleNLP downloads",
    )
    trust_pickle: bool = option(False, "open pickled weights of a local folder: doing so runs code that they may hold")
    learning_rate: float = option(5e-5, "the rate at its peak", check=positive)
    num_train_epochs: int = option(3, "passes over the training rows", check=positive)
    optimizer: str = option("adamw", "the optimiser", choices=("adamw", "adam", "adadelta"))
    lr_scheduler: str = option("linear", "the learning rate after warm-up", choices=("constant", "linear", "cosine"))
    max_grad_norm: float = option(
        1.0, "clip the global gradient norm to this; 0 switches clipping off", check=not_negative
    )
