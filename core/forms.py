"""The forms in which an export folder holds a model, and running any of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import InputError
from core.arithmetic import BF16, FP32
from core.onnx_graph import INT8, ONNX, OnnxGraph
from core.static_graph import GRAPH, PARAMETERS, StaticGraph

Graph = StaticGraph | OnnxGraph


@dataclass(frozen=True)
class Form:
    """A form that an export folder can hold a model in.

    Attributes:
        runtime: what runs it.
        precisions: in which it can be computed; the first unless another is asked for.
        files: that it consists of.
    """

    runtime: str
    precisions: tuple[str, ...]
    files: tuple[str, ...]

    def serves(self, runtime: str | None, precision: str | None) -> bool:
        """Whether it is what a runtime and a precision ask for; None asks for none in particular."""
        return runtime in (None, self.runtime) and precision in (None, *self.precisions)

    @property
    def precision(self) -> str:
        """In which it is computed unless another is asked for."""
        return self.precisions[0]


# By the names that --format takes. Where several would serve, the first does.
FORMS = {
    "paddle": Form("paddle", (FP32, BF16), (GRAPH, PARAMETERS)),
    "onnx": Form("onnx", (FP32,), (ONNX,)),
    "onnx-int8": Form("onnx", ("int8",), (INT8,)),
}


def forms_of(config: Mapping[str, Any]) -> list[str]:
    """The forms that an export folder holds, by its ``export.json``; those of earlier versions hold one."""
    known = config.get("forms", {"paddle": {}})
    if not isinstance(known, dict) or not known or not set(known) <= set(FORMS):
        raise ValueError(f"forms {known!r}")
    return [name for name in FORMS if name in known]


def chosen_form(
    folder: str | os.PathLike[str], config: Mapping[str, Any], runtime: str | None = None, precision: str | None = None
) -> str:
    """The form of an export that a runtime and a precision name; where neither does, the first that is there.

    Raises:
        InputError: there is none.
    """
    held = forms_of(config)
    for name in held:
        if FORMS[name].serves(runtime, precision):
            return name
    asked = " ".join(f"--{key} {value}" for key, value in (("runtime", runtime), ("precision", precision)) if value)
    wanted = [name for name, form in FORMS.items() if form.serves(runtime, precision)]
    hint = f"export it with --format {','.join([*held, wanted[0]])}" if wanted else f"there are: {', '.join(FORMS)}"
    raise InputError(f"{folder} holds {' and '.join(held)}, nothing for {asked}; {hint}")


def served_bytes(folder: str | os.PathLike[str], config: Mapping[str, Any]) -> int:
    """What a folder weighs with that form alone which is served by default."""
    left_out = {name for form in forms_of(config)[1:] for name in FORMS[form].files}
    return sum(path.stat().st_size for path in Path(folder).iterdir() if path.is_file() and path.name not in left_out)


def open_form(
    folder: str | os.PathLike[str],
    form: str,
    threads: int | None = None,
    device: str = "cpu",
    outputs: Sequence[str] = ("logits",),
    precision: str = FP32,
) -> Graph:
    """A form of an export, ready to run, in a precision of those that it knows.

    Raises:
        InputError: its files are damaged, or what runs them is not there: the device, ONNX Runtime, bf16.
    """
    if FORMS[form].runtime == "paddle":
        if device == "gpu":
            from core.distributed import choose_device

            choose_device(device)
        return StaticGraph(folder, threads, device, outputs=outputs, precision=precision)
    if device != "cpu":
        raise InputError(f"--device {device}: ONNX files run on the processor here; take --runtime paddle")
    return OnnxGraph(Path(folder) / FORMS[form].files[0], threads, outputs)
