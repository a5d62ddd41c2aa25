"""Devices and data-parallel processes under ``python -m paddle.distributed.launch``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import paddle

from console import InputError
from core.arithmetic import bf16_fault

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a run: this one's number, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0


def start(device: str) -> World:
    """Selects the device and joins the other processes, if there are any.

    Args:
        device: ``auto`` (GPU where there is one), ``cpu`` or ``gpu``.

    Raises:
        InputError: a GPU was asked for that this build or machine does not have.
    """
    size = process_count()
    paddle.set_device(choose_device(device))
    if size == 1:
        return World()
    paddle.distributed.init_parallel_env()
    return World(paddle.distributed.get_rank(), paddle.distributed.get_world_size())


def process_count() -> int:
    """How many processes ``paddle.distributed.launch`` has started; 1 without it.

    Raises:
        InputError: the environment says something else than a number.
    """
    text = os.environ.get("PADDLE_TRAINERS_NUM", "1")
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"PADDLE_TRAINERS_NUM in the environment: expected a number of processes, got {text!r}")
    return int(text)


def process_place() -> tuple[int, int]:
    """This process's number and how many there are, before it has joined the others or where it never does."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0")), process_count()


def choose_device(device: str) -> str:
    """Resolves ``auto`` and checks that ``gpu`` can be had."""
    compiled = paddle.device.is_compiled_with_cuda()
    usable = compiled and paddle.device.cuda.device_count() > 0
    if device == "gpu" and not usable:
        reason = "this machine shows no GPU to it" if compiled else "it is built without CUDA"
        raise InputError(
            f"--device gpu: the installed build is paddlepaddle {paddle.__version__}, and {reason}; "
            "use --device cpu, or install a GPU build (docs/machines.md, section GPU)"
        )
    return "gpu" if device == "gpu" or (device == "auto" and usable) else "cpu"


def check_precision(precision: str) -> None:
    """Raises :class:`InputError` when the current device cannot compute in ``precision``."""
    if precision == "fp32":
        return
    if current_device() != "gpu":
        if precision == "fp16":
            raise InputError("--precision fp16 needs a GPU; on processors with AMX or AVX512_BF16 there is bf16")
        if fault := bf16_fault():
            raise InputError(f"--precision {precision}: {fault}")
    elif precision == "bf16" and not paddle.amp.is_bfloat16_supported():
        raise InputError("--precision bf16: this GPU has no bf16 arithmetic; use fp32 or fp16")


def sum_gradients(parameters: Iterable[paddle.Tensor], losses: Mapping[str, float]) -> dict[str, float]:
    """Adds up the gradients of all processes, and their losses, in one message.

    Args:
        parameters: of the model; their gradients are replaced.
        losses: this process's shares of the losses of a step.

    Returns:
        The losses over all processes.
    """
    owned = [p for p in parameters if not p.stop_gradient]
    flat = paddle.concat([(p.grad if p.grad is not None else paddle.zeros_like(p)).flatten() for p in owned])
    shares = paddle.to_tensor(np.asarray(list(losses.values()), np.float32))
    flat = paddle.concat([flat, shares.astype(flat.dtype)])
    paddle.distributed.all_reduce(flat)
    start = 0
    for parameter in owned:
        size = parameter.size
        total = flat[start : start + size].reshape(parameter.shape)
        if parameter.grad is None:
            parameter.grad = total
        else:
            parameter.grad.set_value(total)
        start += size
    return dict(zip(losses, flat[start:].tolist(), strict=True))


def main_first(world: World, work: Callable[[], T]) -> T:
    """Lets the main process do work that leaves files behind, then the others, who find them."""
    if world.size == 1:
        return work()
    result = work() if world.is_main else None
    wait(world)
    return result if world.is_main else work()  # type: ignore[return-value]


def wait(world: World) -> None:
    """Lets all processes come to this point: what the main one wrote before, the others can read after."""
    if world.size > 1:
        paddle.distributed.barrier()


def from_main(world: World, values: np.ndarray) -> np.ndarray:
    """The main process's values, in every process."""
    if world.size == 1:
        return values
    tensor = paddle.to_tensor(values)
    paddle.distributed.broadcast(tensor, src=0)
    return tensor.numpy()


def current_device() -> str:
    """``gpu`` or ``cpu``, as Paddle computes now."""
    return "gpu" if paddle.device.get_device().startswith("gpu") else "cpu"
