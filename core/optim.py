"""Optimisers, learning-rate schedules, and optimiser state by names that survive a new process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import paddle
from paddle import nn

from console import InputError

OPTIMIZERS = ("adadelta", "adam", "adamw")


def make_optimizer(name: str, layer: nn.Layer, weight_decay: float = 0.0) -> paddle.optimizer.Optimizer:
    """An optimiser over a layer's trainable parameters; the loop sets its learning rate at every step.

    Args:
        name: ``adadelta`` (rho 0.95), ``adam``, or ``adamw``.
        layer: holds the parameters.
        weight_decay: decoupled, for ``adamw`` only; biases and layer norms are left out.

    Raises:
        InputError: weight decay with another optimiser than ``adamw``.
    """
    if weight_decay and name != "adamw":
        raise InputError(f"--weight_decay {weight_decay}: decoupled decay needs --optimizer adamw, not {name}")
    named = {name: p for name, p in layer.named_parameters() if not p.stop_gradient}
    parameters = list(named.values())
    if name == "adadelta":
        return paddle.optimizer.Adadelta(1.0, rho=0.95, epsilon=1e-6, parameters=parameters)
    if name == "adam":
        return paddle.optimizer.Adam(1.0, parameters=parameters)
    decayed = {p.name for key, p in named.items() if not (key.endswith("bias") or "norm" in key)}
    return paddle.optimizer.AdamW(
        1.0, parameters=parameters, weight_decay=weight_decay, apply_decay_param_fun=decayed.__contains__
    )


def clip_gradients(parameters: Iterable[paddle.Tensor], max_norm: float) -> float:
    """Scales all gradients so that their common norm is at most ``max_norm``, as Paddle's ClipGradByGlobalNorm.

    That one multiplies every gradient at every step; here a step within the norm costs one dot product a gradient.

    Returns:
        The norm before.
    """
    with paddle.no_grad():
        gradients = [p.grad for p in parameters if p.grad is not None]
        rows = [gradient.reshape([1, -1]) for gradient in gradients]
        # A matrix product: paddle.dot and paddle.linalg.norm take three to twenty times as long.
        norm = math.sqrt(sum(paddle.matmul(row, row, transpose_y=True).item() for row in rows))
        if norm > max_norm:
            for gradient in gradients:
                gradient.scale_(max_norm / norm)
    return norm


def learning_rate(step: int, total: int, peak: float, warmup: int, schedule: str) -> float:
    """The rate of step ``step`` (from 0) of ``total``: linear warm-up, then constant, linear or cosine to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    if schedule == "linear":
        return peak * max(0.0, 1.0 - share)
    if schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
    return peak


def optimizer_state(optimizer: paddle.optimizer.Optimizer, layer: nn.Layer) -> dict[str, np.ndarray]:
    """The optimiser's accumulators under the layer's own parameter names.

    Paddle names them after a counter of the process, which differs in the next one.
    """
    state = {key: value for key, value in optimizer.state_dict().items() if isinstance(value, paddle.Tensor)}
    found = {}
    for name, parameter in layer.named_parameters():
        prefix = f"{parameter.name}_"
        for key in [key for key in state if key.startswith(prefix)]:
            found[f"{name}|{key.removeprefix(prefix)}"] = state.pop(key).numpy()
    if state:
        raise RuntimeError(f"optimiser state without a parameter: {sorted(state)[:3]}")
    return found


def restore_optimizer(optimizer: paddle.optimizer.Optimizer, layer: nn.Layer, state: Mapping[str, np.ndarray]) -> None:
    """Puts back what :func:`optimizer_state` took."""
    names = dict(layer.named_parameters())
    renamed = {}
    for key, value in state.items():
        name, _, suffix = key.partition("|")
        tensor = paddle.to_tensor(value)
        tensor.name = f"{names[name].name}_{suffix}"
        renamed[tensor.name] = tensor
    optimizer.set_state_dict(renamed)
