"""Static graphs: from a model to ``model.json`` + ``model.pdiparams``, and running them with Paddle Inference."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError
from core.arithmetic import BF16, FP32, bf16_fault, keep_fp32
from data.batches import Batch

GRAPH, PARAMETERS = "model.json", "model.pdiparams"
FILES = (GRAPH, PARAMETERS)


def save_graph(
    loaded,  # noqa: ANN001 - models.LoadedModel, whose import costs seconds
    folder: str | os.PathLike[str],
    wanted: Mapping[str, Sequence[int]] | None = None,
    with_outputs: bool = True,
    wrap: Callable[[Any], Any] | None = None,
) -> tuple[str, ...]:
    """Writes the static graph of a model.

    A copy is converted: a converted layer refuses optional arguments afterwards, and the model may go on training.

    Args:
        loaded: the model.
        folder: receives ``model.json`` and ``model.pdiparams``.
        wanted: features that the graph gives beside the model's outputs, see :data:`core.features.Wanted`.
        with_outputs: whether it gives those outputs at all.
        wrap: makes the layer that is converted from the copy; that has ``names`` of its outputs and ``input_spec()``.

    Returns:
        The names of what the graph gives, in their order: those of the model, then ``hidden_states.0`` and so on.
    """
    import paddle

    from models.folder import build, model_config
    from models.weights import layer_weights, set_weights

    copy = build(model_config(loaded))
    set_weights(copy, layer_weights(loaded.model), "the model")
    copy.eval()
    spec, names = copy.input_spec(), tuple(copy.outputs)
    if wanted:
        from core.features import WithFeatures

        copy = WithFeatures(copy, wanted, with_outputs)
        names = copy.names
    if wrap is not None:
        copy = wrap(copy)
        spec, names = copy.input_spec(), copy.names
    graph = paddle.jit.to_static(copy, input_spec=spec, full_graph=True)
    paddle.jit.save(graph, str(Path(folder) / "model"))
    return names


def default_threads() -> int:
    """As many threads as the process was given (processes that share the cores have a part each), else one per core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else len(os.sched_getaffinity(0))


class StaticGraph:
    """A static graph, ready to run, by one thread at a time: others wait.

    Args:
        folder: holds ``model.json`` and ``model.pdiparams``.
        threads: for matrix kernels; None takes :func:`default_threads`.
        device: ``cpu`` (with oneDNN) or ``gpu``.
        outputs: the names of what it gives, in its order, as :func:`save_graph` told them.
        shapes: input shapes for which oneDNN keeps what it prepared. That holds a copy of the weights, so each costs
            as much memory as the model; a shape that it does not keep costs several runs' time.
        precision: ``fp32``, or ``bf16`` on a processor that has it, see :mod:`core.arithmetic`.

    Attributes:
        width_multiple: widths that inputs are best padded to: oneDNN prepares itself anew for every input shape, and
            single rows come in 16 widths up to 128 tokens.

    Raises:
        InputError: the files are absent or damaged, or there is no bf16 here.
    """

    width_multiple = 8

    def __init__(
        self,
        folder: str | os.PathLike[str],
        threads: int | None = None,
        device: str = "cpu",
        shapes: int = 16,
        outputs: Sequence[str] = ("logits",),
        precision: str = FP32,
    ) -> None:
        from paddle import inference
        from paddle.base import core

        if precision == BF16 and (fault := bf16_fault(device)):
            raise InputError(f"--precision bf16: {fault}")
        keep_fp32()
        # Inputs and outputs of a run are kept in the predictor.
        self._run = threading.Lock()
        self._set_threads = core.set_num_threads
        paths = [Path(folder) / name for name in (GRAPH, PARAMETERS)]
        for path in paths:
            if not path.is_file() or path.stat().st_size == 0:
                raise InputError(f"{path}: missing or empty; export the model again with deploy.export")
        config = inference.Config(*map(str, paths))
        # Both switches must come first, or enable_memory_optim() asks for a pass that the new IR does not have.
        config.enable_new_executor(True)
        config.enable_new_ir(True)
        config.disable_glog_info()
        if device == "gpu":
            config.enable_use_gpu(256, 0)
        else:
            config.disable_gpu()
            config.enable_mkldnn()
            config.set_mkldnn_cache_capacity(shapes)
            if precision == BF16:
                config.enable_mkldnn_bfloat16()
            config.set_cpu_math_library_num_threads(threads or default_threads())
        config.enable_memory_optim()
        config.switch_ir_optim(True)
        try:
            self._predictor = inference.create_predictor(config)
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[-200:]
            raise InputError(
                f"{folder}: this static graph cannot be loaded ({reason}); export the model again"
            ) from error
        self.inputs: list[str] = self._predictor.get_input_names()
        self._handles = {name: self._predictor.get_input_handle(name) for name in self.inputs}
        handles = [self._predictor.get_output_handle(name) for name in self._predictor.get_output_names()]
        if len(handles) != len(outputs):
            raise InputError(f"{folder}: this static graph gives {len(handles)} outputs, expected {len(outputs)}")
        self.outputs = dict(zip(outputs, handles, strict=True))

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by name for named inputs; entries that the graph does not know are left out."""
        given = {name: np.ascontiguousarray(inputs[name], np.int64) for name in self._handles}
        with self._run:
            for name, handle in self._handles.items():
                handle.copy_from_cpu(given[name])
            self._predictor.run()
            # Paddle Inference ends by taking all threads but one away from the whole process: training steps that
            # followed a teacher's pass took twice as long on two cores.
            self._set_threads(default_threads())
            return {name: handle.copy_to_cpu() for name, handle in self.outputs.items()}

    def __call__(self, batch: Batch) -> np.ndarray:
        """The first output, such as logits [batch, labels], for a batch of :class:`data.batches.Batches`."""
        return self.run(batch)[next(iter(self.outputs))]
