"""ONNX: from a static graph to ``model.onnx`` and its int8 form, and running both with ONNX Runtime, without Paddle."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError
from core.static_graph import GRAPH, PARAMETERS, default_threads
from data.batches import Batch

ONNX, INT8 = "model.onnx", "model.int8.onnx"
OPSET = 17
MISSING = "{} not installed here; install it with: python -m pip install -r {} -c constraints.txt ({})"


def onnx_runtime() -> Any:
    """The module ``onnxruntime``.

    Raises:
        InputError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(MISSING.format("ONNX Runtime is", "requirements-onnx.txt", error)) from error
    return onnxruntime


def onnx_converter() -> Any:
    """The module ``paddle2onnx``.

    Raises:
        InputError: it is not installed, or what it needs.
    """
    try:
        # It is of no use without the second.
        import onnx  # noqa: F401
        import paddle2onnx
    except ImportError as error:
        raise InputError(MISSING.format("the converter to ONNX is", "requirements.txt", error)) from error
    return paddle2onnx


def save_onnx(static: str | os.PathLike[str], target: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Writes ``model.onnx``: standard operators only, inputs named as the static graph's, outputs as given.

    Args:
        static: holds the static graph.
        target: folder that receives the file.
        names: of the outputs, in their order, as :func:`core.static_graph.save_graph` told them.

    Raises:
        InputError: ONNX Runtime or the converter is not installed, or the graph holds what cannot be converted.
    """
    runtime, converter = onnx_runtime(), onnx_converter()
    import onnx

    with quietly():
        content = converter.export(
            *(str(Path(static) / name) for name in (GRAPH, PARAMETERS)), opset_version=OPSET, auto_upgrade_opset=False
        )
    model = onnx.load_from_string(content)
    _name_outputs(model, names)
    _tell_lengths(model)
    _name_dimensions(model)
    with tempfile.TemporaryDirectory(dir=target) as place:
        raw, folded = Path(place) / "raw.onnx", Path(place) / "folded.onnx"
        onnx.save(model, str(raw))
        # Weights arrive cut up and behind identities; int8 needs them whole.
        options = _options(runtime, 1)
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        with quietly():
            # A full disk, too, is an exception of its own kind here.
            runtime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
        model = onnx.load(str(folded))
    # ONNX Runtime declares its own domains, of which nothing is used.
    used = {node.domain for node in model.graph.node}
    kept = [known for known in model.opset_import if known.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    _share_weights(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(Path(target) / ONNX))


def save_int8(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Writes ``model.int8.onnx``: weights and embeddings in int8, what flows between layers quantised as it comes.

    Weights take seven of the eight bits: processors without VNNI add pairs of products in 16 bits, which overflow
    otherwise (logits of a six-layer BERT were off by 0.36 instead of 0.01 there).

    Args:
        source: holds ``model.onnx``.
        target: folder that receives the file.
    """
    onnx_runtime()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(Path(source) / ONNX))
    # What :func:`save_onnx` had ONNX Runtime do is what it asks for in a warning, unless this says that it was done.
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    _part_weights(model)
    with quietly(), tempfile.TemporaryDirectory(dir=target) as place:
        path = Path(place) / INT8
        quantize_dynamic(model, str(path), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        model = onnx.load(str(path))
    _share_weights(model)
    onnx.save(model, str(Path(target) / INT8))


def _part_weights(model: Any) -> None:
    """Gives every LSTM weights of its own: the quantiser turns those of the first one round, and again of the second.

    The texts of a pair go through one LSTM, which is two nodes.
    """
    graph = model.graph
    known = {weight.name: weight for weight in graph.initializer}
    taken: set[str] = set()
    for node in (node for node in graph.node if node.op_type == "LSTM"):
        for number in (1, 2):
            name = node.input[number]
            if name in taken:
                copied = graph.initializer.add()
                copied.CopyFrom(known[name])
                copied.name = node.input[number] = f"{name}.{len(taken)}"
            taken.add(node.input[number])


def _share_weights(model: Any) -> None:
    """Keeps one of weights that are equal."""
    graph = model.graph
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    kept = []
    for weight in graph.initializer:
        content = type(weight)()
        content.CopyFrom(weight)
        content.name = ""
        key = content.SerializeToString(deterministic=True)
        if key in first:
            renamed[weight.name] = first[key]
        else:
            first[key] = weight.name
            kept.append(weight)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for number, value in enumerate(node.input):
            node.input[number] = renamed.get(value, value)


def _name_outputs(model: Any, names: Sequence[str]) -> None:
    """Gives the outputs the names that the static graph's have in our code."""
    given = [output.name for output in model.graph.output]
    if len(given) != len(names):
        raise InputError(f"the ONNX graph gives {len(given)} outputs, expected {len(names)}")
    renamed = dict(zip(given, names, strict=True))
    for output in model.graph.output:
        output.name = renamed[output.name]
    for node in model.graph.node:
        for values in (node.input, node.output):
            for number, value in enumerate(values):
                values[number] = renamed.get(value, value)


def _tell_lengths(model: Any) -> None:
    """Tells every LSTM where its rows end, which the converter leaves out: the backward one would begin in the padding.

    An LSTM's fifth input are the lengths. Which ones is told by the ids nearest to what it reads, through whatever
    layers: where the texts of a pair are aligned it reads both, its own by fewer of them.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    made_by = {value: node for node in graph.node for value in node.output}
    known = {given.name for given in graph.input if given.name.startswith("input_ids")}
    casts: dict[str, Any] = {}
    for node in (node for node in graph.node if node.op_type == "LSTM"):
        waiting, seen = deque([node.input[0]]), set()
        while (ids := waiting.popleft()) not in known:
            if ids not in seen and ids in made_by:
                waiting += made_by[ids].input
            seen.add(ids)
        lengths = ids.replace("input_ids", "lengths")
        if lengths not in casts:
            casts[lengths] = helper.make_node("Cast", [lengths], [f"{lengths}.int32"], to=TensorProto.INT32)
        while len(node.input) < 5:
            node.input.append("")
        node.input[4] = f"{lengths}.int32"
    # In front: nodes stand in the order of what they need.
    nodes = [*casts.values(), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _name_dimensions(model: Any) -> None:
    """Names free dimensions, so that whoever opens the file sees what they are."""
    for value in (*model.graph.input, *model.graph.output):
        # The texts of a pair have widths of their own.
        names = ("batch", "tokens_b" if value.name.endswith("_b") else "tokens")
        for name, dimension in zip(names, value.type.tensor_type.shape.dim, strict=False):
            if not dimension.HasField("dim_value") or dimension.dim_value < 1:
                dimension.dim_param = name


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps off the screen what converters print and log; what they said is told when they fail.

    Raises:
        InputError: it failed.
    """
    saved, level = [os.dup(1), os.dup(2)], logging.root.manager.disable
    logging.disable(logging.WARNING)
    with tempfile.TemporaryFile() as said:
        _flush()
        try:
            for handle in (1, 2):
                os.dup2(said.fileno(), handle)
            try:
                yield
            finally:
                logging.disable(level)
                _flush()
                for handle, former in zip((1, 2), saved, strict=True):
                    os.dup2(former, handle)
                    os.close(former)
        except OSError:
            raise
        except Exception as error:
            said.seek(0)
            last = " ".join(said.read().decode("utf-8", "replace").split())[-300:]
            reason = " ".join(str(error).split())[-200:] or type(error).__name__
            raise InputError(
                f"this model cannot be converted to ONNX ({reason}{last and ': '}{last}); is there room on the disk? "
                "--format paddle does without"
            ) from error


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A stream that was closed before the process began is None.
        if stream is not None:
            stream.flush()


def _options(runtime: Any, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    # Errors only: they are raised, too.
    options.log_severity_level = 3
    return options


class OnnxGraph:
    """An ONNX file, ready to run on the processor: what :class:`core.static_graph.StaticGraph` is for a static graph.

    Args:
        path: of the file.
        threads: for matrix kernels; None takes :func:`core.static_graph.default_threads`.
        outputs: the names of what is wanted of it.

    Attributes:
        width_multiple: inputs of every width are as good as another.

    Raises:
        InputError: ONNX Runtime is not installed, or the file is damaged, or another model's.
    """

    width_multiple = 1

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, outputs: Sequence[str] = ("logits",)
    ) -> None:
        runtime = onnx_runtime()
        try:
            self._session = runtime.InferenceSession(
                str(path), _options(runtime, threads or default_threads()), providers=["CPUExecutionProvider"]
            )
        # What it raises on a damaged file are classes of its own, without a common one.
        except Exception as error:
            reason = " ".join(str(error).split())[-200:]
            raise InputError(f"{path}: this file cannot be loaded ({reason}); export the model again") from error
        self.inputs: list[str] = [known.name for known in self._session.get_inputs()]
        found = [known.name for known in self._session.get_outputs()]
        if found != list(outputs):
            raise InputError(f"{path}: this file gives {', '.join(found)}, expected {', '.join(outputs)}")
        self.outputs = found

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by name for named inputs; entries that the graph does not know are left out."""
        given = {name: np.ascontiguousarray(inputs[name], np.int64) for name in self.inputs}
        return dict(zip(self.outputs, self._session.run(None, given), strict=True))

    def __call__(self, batch: Batch) -> np.ndarray:
        """The first output, such as logits [batch, labels], for a batch of :class:`data.batches.Batches`."""
        return self.run(batch)[self.outputs[0]]
