"""Weights on disk: safetensors in, safetensors out; pickled ones are read without running what they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from console import InputError
from files import is_plain_name, read_json, write_atomically
from models.pickles import Refused, read_pickled

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
KNOWN_TYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
PICKLED = (".pdparams", ".bin", ".pt", ".pth")
SUFFIXES = (".safetensors", *PICKLED)


def read_weights(folder: str | os.PathLike[str], trust_pickle: bool = False) -> dict[str, np.ndarray]:
    """Reads all weights of a folder as float32.

    Args:
        folder: of our own, of PaddleNLP or of Hugging Face.
        trust_pickle: whether pickled files may be opened that :mod:`models.pickles` refuses.

    Raises:
        InputError: no weights, damaged ones, or pickled ones that would run code without ``trust_pickle``.
    """
    files = weights_files(folder)
    if not files:
        raise InputError(f"{folder}: expected {WEIGHTS} here, found no weights")
    parts = [read_weights_file(path, trust_pickle) for path in files]
    return {name: value for part in parts for name, value in part.items()}


def weights_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files that :func:`read_weights` reads, among those that a folder holds; none where it holds no weights.

    Raises:
        InputError: a damaged index.
    """
    folder = Path(folder)
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = set(read_json(folder / INDEX)["weight_map"].values())
            if not all(isinstance(name, str) for name in names):
                raise ValueError("expected names of files")
            outside = not all(is_plain_name(name) for name in names)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder / INDEX}: damaged ({type(error).__name__}: {error})") from error
        if outside:
            raise InputError(f"{folder / INDEX}: names a file outside its folder")
        return [folder / name for name in sorted(names)]
    pickled = [path for path in sorted(folder.glob("*")) if path.suffix in PICKLED]
    # Trainers leave their own state beside the weights.
    usual = [path for path in pickled if path.name in ("model_state.pdparams", "pytorch_model.bin")]
    return (usual or pickled)[:1]


def folder_of(name: str, option: str) -> str:
    """The folder of weights that are named as a file, as published; other names as they are.

    Raises:
        InputError: of that folder other weights are read.
    """
    path = Path(name)
    is_weights = path.suffix in SUFFIXES and not path.is_dir()
    if is_weights and not path.is_file():
        raise InputError(f"{option} {name}: no such file")
    if is_weights and path not in weights_files(path.parent):
        raise InputError(
            f"{option} {name}: its folder's weights are read from another file; put these into a folder of their own, "
            "with config.json and the vocabulary"
        )
    return str(path.parent) if is_weights or (path.suffix == ".json" and path.is_file()) else name


def read_weights_file(path: Path, trust_pickle: bool = False) -> dict[str, np.ndarray]:
    """Reads one file of weights, safetensors or pickled; see :func:`read_weights`."""
    if path.suffix not in PICKLED:
        return read_safetensors(path)
    try:
        return {name: _widened(value) for name, value in read_pickled(path).items()}
    except Refused as refusal:
        if trust_pickle:
            return _read_trusting(path)
        raise InputError(
            f"{path}: these pickled weights hold more than numbers ({refusal}), and opening them runs whatever code "
            "they hold; pass --trust_pickle if you trust where they come from, or convert them to safetensors"
        ) from None


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads one file; half-precision numbers are widened to float32.

    Raises:
        InputError: damaged or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no dictionary
            if unknown := sorted(set(types.values()) - KNOWN_TYPES):
                raise InputError(
                    f"{path}: weights of the type {unknown[0]} are not known here; convert them to float32"
                )
            # NumPy knows no bfloat16: those are read from their bits.
            plain = {name: _widened(file.get_tensor(name)) for name, kind in types.items() if kind != "BF16"}
        return plain if "BF16" not in types.values() else {**plain, **_brain_floats(path)}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a complete safetensors file ({error})") from error


def _brain_floats(path: Path) -> dict[str, np.ndarray]:
    """The bfloat16 tensors of a file: each is the upper half of a float32."""
    from safetensors import deserialize

    return {
        name: (np.frombuffer(part["data"], "<u2").astype(np.uint32) << 16).view(np.float32).reshape(part["shape"])
        for name, part in deserialize(path.read_bytes())
        if part["dtype"] == "BF16"
    }


def check_safetensors(path: Path) -> None:
    """Looks whether a file is complete, without reading its numbers.

    Raises:
        InputError: missing, empty, cut off or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            if not file.keys():
                raise InputError(f"{path}: no weights in this file")
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a complete safetensors file ({error})") from error


def _widened(value: np.ndarray) -> np.ndarray:
    if value.dtype.name in ("float16", "bfloat16", "float64"):
        return value.astype(np.float32)
    return value


def _read_trusting(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".pdparams":
            state = paddle.load(str(path), return_numpy=True)
        else:
            from paddlenlp.utils.serialization import load_torch

            state = load_torch(str(path))
        return {name: _widened(np.asarray(value)) for name, value in state.items()}
    except Exception as error:  # What a damaged pickle raises has no bounds.
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path}: these pickled weights cannot be read ({reason})") from error


def write_safetensors(
    path: str | os.PathLike[str], weights: Mapping[str, np.ndarray], tensor_format: str = "np"
) -> None:
    """Writes weights in one step: the old file or the new one is there at any moment.

    Args:
        path: the file.
        weights: by name.
        tensor_format: tells other libraries' loaders whose layout this is: ``np`` PaddleNLP's, ``pt`` PyTorch's.
    """
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(v) for name, v in weights.items()}, metadata={"format": tensor_format})
    write_atomically(path, content)


def _tensors(layer: nn.Layer) -> dict[str, paddle.Tensor]:
    """A layer's parameters and buffers, each under its first name: ``nn.LSTM`` lists its own under two."""
    first: dict[int, str] = {}
    for name, value in layer.state_dict().items():
        first.setdefault(id(value), name)
    return {name: value for name, value in layer.state_dict().items() if first[id(value)] == name}


def layer_weights(layer: nn.Layer) -> dict[str, np.ndarray]:
    """A layer's parameters and buffers as arrays."""
    return {name: value.numpy() for name, value in _tensors(layer).items()}


def set_weights(
    layer: nn.Layer, weights: Mapping[str, np.ndarray], source: str, optional: tuple[str, ...] = ()
) -> list[str]:
    """Copies weights into a layer.

    Args:
        layer: receives them.
        weights: by the layer's own names; others are ignored.
        source: named in errors.
        optional: beginnings of names that may be missing.

    Returns:
        The names that were missing.

    Raises:
        InputError: a weight is missing, has another shape, or is not finite.
    """
    missing = []
    for name, parameter in _tensors(layer).items():
        if name not in weights:
            missing.append(name)
        elif list(weights[name].shape) != list(parameter.shape):
            raise InputError(
                f"{source}: {name} has the shape {list(weights[name].shape)}, expected {list(parameter.shape)}"
            )
        elif weights[name].dtype.kind == "f" and not np.isfinite(weights[name]).all():
            raise InputError(f"{source}: {name} holds numbers that are not finite; the training that made it failed")
        else:
            parameter.set_value(weights[name].astype(np.float32))
    wanted = [name for name in missing if not name.startswith(optional or ("\0",))]
    if wanted:
        raise InputError(f"{source}: {len(wanted)} weights are missing, {wanted[0]} among them")
    return missing
