"""Single operations of a training step, computed by the oneDNN that Paddle brings for its static graphs.

Paddle's operators outside of static graphs do not use it. It multiplies bf16, for which they have no kernel, in half
the time of fp32; its gradients of layer norm, GELU and LSTMs use all cores and take a tenth to three quarters of their
time. It is called through its C interface (version 3) on the memory of Paddle's tensors.

Matrix products are called as they are; other operations are prepared once a shape and kept, and what they need for
intermediate results is one piece of memory for all.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import paddle

# Numbers of oneDNN's C interface: data types, modes, arguments, algorithms, flags.
BF16, F32 = 2, 3
STRICT, _ANY = 0, 1
_CPU, _IN_ORDER, FORWARD_TRAINING, BACKWARD, _USER_SCRATCHPAD = 1, 1, 64, 128, 1
SRC, DST, WEIGHTS, BIAS, _MEAN, _VARIANCE, _SCALE, _SHIFT, _SCRATCHPAD = 1, 17, 33, 41, 49, 50, 51, 52, 80
DIFF_SRC, DIFF_DST, _DIFF_SCALE, _DIFF_SHIFT = 129, 145, 255, 256
_GELU_ERF, _SCALE_AND_SHIFT, _SCRATCHPAD_SIZE = 49, 2 | 4, 136
DTYPES = {F32: paddle.float32, BF16: paddle.bfloat16}
# Bytes of an element.
_WIDTHS = {paddle.float32: 4, paddle.bfloat16: 2, paddle.uint8: 1}
# Prepared operations of a kind that are kept. Each holds 10 to 80 kB of code, and is made in less than 0.5 ms; oneDNN
# itself keeps up to 1,024 that are made again.
KEPT = 128

Pointer = ctypes.c_void_p
Shape = tuple[int, ...]


class Layout(Pointer):
    """oneDNN's description of a tensor."""

    def __del__(self) -> None:
        if self and library is not None:
            library().dnnl_memory_desc_destroy(self)


class _Argument(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("memory", Pointer))


@cache
def library() -> Any:
    """oneDNN; None where Paddle's build has none, or another major version."""
    for path in sorted((Path(paddle.__file__).parent / "libs").glob("libdnnl.so.3")):
        known = ctypes.CDLL(str(path))
        if hasattr(known, "dnnl_primitive_attr_set_fpmath_mode"):
            # On processors with AMX it would round by itself where the environment asks for that.
            known.dnnl_set_default_fpmath_mode(STRICT)
            known.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
            known.dnnl_primitive_desc_query_md.restype = Pointer
            known.dnnl_memory_set_data_handle.argtypes = [Pointer, Pointer]
            for name in ("dnnl_sgemm", "dnnl_gemm_bf16bf16f32"):
                size, number = ctypes.c_int64, ctypes.c_float
                matrix = [Pointer, size]
                getattr(known, name).argtypes = [
                    *(ctypes.c_char, ctypes.c_char, size, size, size),
                    *(number, *matrix, *matrix, number, *matrix),
                ]
            known.dnnl_primitive_execute.argtypes = [Pointer, Pointer, ctypes.c_int, ctypes.POINTER(_Argument)]
            return known
    return None


def computes(x: paddle.Tensor) -> bool:
    """Whether an operation with a gradient of our own pays for what it reads: float32 that learns, on a CPU."""
    return (
        paddle.in_dynamic_mode()
        and not x.stop_gradient
        and x.place.is_cpu_place()
        and x.dtype == paddle.float32
        # Under automatic mixed precision the tensors of the backward pass have two types: Paddle's own op casts.
        and not paddle.is_autocast_enabled()
        and library() is not None
    )


def check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"oneDNN: {what} failed with status {status}")


class _Process:
    """oneDNN's engine and stream, and the memory for intermediate results, of this process."""

    def __init__(self) -> None:
        known = library()
        self.engine, self.stream = Pointer(), Pointer()
        check(known.dnnl_engine_create(ctypes.byref(self.engine), _CPU, ctypes.c_size_t(0)), "an engine")
        check(known.dnnl_stream_create(ctypes.byref(self.stream), self.engine, _IN_ORDER), "a stream")
        # Memory objects of a prepared operation are pointed at tensors while it runs.
        self.turn = threading.Lock()
        self._scratch = paddle.empty([0], "uint8")

    def scratch(self, size: int) -> int:
        """The address of a piece of memory of at least this size, which the next operation may overwrite."""
        if self._scratch.shape[0] < size:
            self._scratch = paddle.empty([size], "uint8")
        return self._scratch.data_ptr()


_STARTS = threading.Lock()


def _process() -> _Process:
    # Two threads that begin at once share one.
    with _STARTS:
        return _made_once()


@cache
def _made_once() -> _Process:
    return _Process()


def engine() -> Pointer:
    """What computes: the processor."""
    return _process().engine


@lru_cache(maxsize=KEPT)
def any_layout(shape: Shape, kind: int) -> Pointer:
    """A tensor that oneDNN may lay out as suits the operation."""
    made = Layout()
    status = library().dnnl_memory_desc_create_with_tag(
        ctypes.byref(made), len(shape), (ctypes.c_int64 * 12)(*shape), kind, _ANY
    )
    check(status, f"a layout of {shape}")
    return made


def size_of(about: Pointer) -> int:
    """Bytes of a tensor of a layout."""
    return library().dnnl_memory_desc_get_size(about)


@lru_cache(maxsize=KEPT)
def layout(shape: Shape, strides: Shape, kind: int) -> Pointer:
    """oneDNN's description of a tensor."""
    made, dims = Layout(), ctypes.c_int64 * 12
    status = library().dnnl_memory_desc_create_with_strides(
        ctypes.byref(made), len(shape), dims(*shape), kind, dims(*strides)
    )
    check(status, f"a layout of {shape}")
    return made


def plain(shape: Shape, kind: int = F32) -> Pointer:
    """The layout of a tensor whose elements lie one after the other."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return layout(shape, tuple(strides), kind)


def _real(value: float) -> ctypes.c_float:
    return ctypes.c_float(value)


def _vector(width: int) -> Pointer:
    return layout((width,), (1,), F32)


class Operation:
    """A prepared operation.

    Args:
        kind: the part of its name in oneDNN's functions.
        details: what is told of it.
        arguments: the number and the layout of each tensor that it reads or writes; or what tells them where oneDNN
            has chosen some, from :meth:`chosen`.
    """

    def __init__(
        self,
        kind: str,
        details: Sequence[Any],
        arguments: Sequence[tuple[int, Pointer]] | Callable[[Callable[..., Pointer]], Sequence[tuple[int, Pointer]]],
    ) -> None:
        known, process = library(), _process()
        attributes, self._about, made = Pointer(), Pointer(), Pointer()
        check(known.dnnl_primitive_attr_create(ctypes.byref(attributes)), "attributes")
        known.dnnl_primitive_attr_set_fpmath_mode(attributes, STRICT)
        known.dnnl_primitive_attr_set_scratchpad_mode(attributes, _USER_SCRATCHPAD)
        create = getattr(known, f"dnnl_{kind}_primitive_desc_create")
        status = create(ctypes.byref(self._about), *details, attributes)
        known.dnnl_primitive_attr_destroy(attributes)
        check(status, kind)
        check(known.dnnl_primitive_create(ctypes.byref(made), self._about), kind)
        scratchpad = Pointer(known.dnnl_primitive_desc_query_md(self._about, _SCRATCHPAD_SIZE, 0))
        self._scratch_size = known.dnnl_memory_desc_get_size(scratchpad)
        told = arguments(self.chosen) if callable(arguments) else arguments
        layouts = [*told, *([(_SCRATCHPAD, scratchpad)] if self._scratch_size else [])]
        self._sizes = [size_of(layout) for _, layout in told]
        self._memory = []
        for _, layout in layouts:
            memory = Pointer()
            check(known.dnnl_memory_create(ctypes.byref(memory), layout, process.engine, Pointer()), "memory")
            self._memory.append(memory)
        pairs = [(number, memory) for (number, _), memory in zip(layouts, self._memory, strict=True)]
        self._made, self._count = made, len(pairs)
        self._arguments = (_Argument * len(pairs))(*pairs)
        # When the process ends, all of its memory goes anyway, and oneDNN may have gone before.
        weakref.finalize(self, _forget, made, self._about, tuple(self._memory)).atexit = False

    @property
    def about(self) -> Pointer:
        """What the operation of the backward pass wants to know of this one."""
        return self._about

    def chosen(self, what: int, place: int = 0) -> Pointer:
        """The layout that oneDNN has chosen where it was left to it (:func:`any_layout`); lives as long as this."""
        return Pointer(library().dnnl_primitive_desc_query_md(self._about, what, place))

    def __call__(self, *tensors: paddle.Tensor) -> None:
        """Computes; the tensors in the order of the arguments.

        Raises:
            ValueError: a tensor is not as large as it was told to be.
        """
        known, process = library(), _process()
        sizes = [tensor.size * _WIDTHS.get(tensor.dtype, 0) for tensor in tensors]
        if sizes != self._sizes:
            raise ValueError(f"expected tensors of {self._sizes} bytes, got {sizes}")
        # Views of transposed tensors are laid out anew; what is written to never is one.
        tensors = tuple(tensor if tensor.is_contiguous() else tensor.contiguous() for tensor in tensors)
        with process.turn:
            addresses = [tensor.data_ptr() for tensor in tensors]
            if self._scratch_size:
                addresses.append(process.scratch(self._scratch_size))
            for memory, address in zip(self._memory, addresses, strict=True):
                known.dnnl_memory_set_data_handle(memory, address)
            status = known.dnnl_primitive_execute(self._made, process.stream, self._count, self._arguments)
        check(status, "a run")


def _forget(made: Pointer, about: Pointer, memory: Sequence[Pointer]) -> None:
    known = library()
    known.dnnl_primitive_destroy(made)
    known.dnnl_primitive_desc_destroy(about)
    for one in memory:
        known.dnnl_memory_destroy(one)


def product(
    a: paddle.Tensor,
    b: paddle.Tensor,
    bias: paddle.Tensor | None = None,
    transpose_x: bool = False,
    transpose_y: bool = False,
) -> paddle.Tensor:
    """``paddle.matmul`` of two matrices, both float32 or both bfloat16, with a bias added to each row.

    Args:
        a: [rows, inner], or [inner, rows] with ``transpose_x``.
        b: [inner, columns], or [columns, inner] with ``transpose_y``.
        bias: float32, [columns].

    Returns:
        float32, [rows, columns]; products of bfloat16 are summed in float32.

    Raises:
        ValueError: they do not fit together. oneDNN reads what it was told of, wherever a tensor ends.
    """
    rows, inner = a.shape[::-1] if transpose_x else a.shape
    other, columns = b.shape[::-1] if transpose_y else b.shape
    fits = inner == other and a.dtype == b.dtype and a.dtype in (paddle.float32, paddle.bfloat16)
    if not fits or not (bias is None or (bias.shape == [columns] and bias.dtype == paddle.float32)):
        told = "" if bias is None else f" with the bias {bias.shape}"
        raise ValueError(f"a product of [{rows}, {inner}] and [{other}, {columns}]{told}, {a.dtype}, {b.dtype}")
    if not inner or not rows or not columns:
        nothing = paddle.zeros([rows, columns], paddle.float32)
        return nothing if bias is None else nothing + bias
    made = paddle.empty([rows, columns], paddle.float32)
    if bias is not None:
        # A product too: every row one of them.
        ones = paddle.ones([rows, 1], paddle.float32)
        _multiply(ones, bias.reshape([1, -1]), made, (rows, 1, columns), (False, False), 0.0)
    turned = transpose_x, transpose_y
    _multiply(a, b, made, (rows, inner, columns), turned, 0.0 if bias is None else 1.0)
    return made


def _multiply(
    a: paddle.Tensor,
    b: paddle.Tensor,
    made: paddle.Tensor,
    shape: tuple[int, int, int],
    turned: tuple[bool, bool],
    kept: float,
) -> None:
    """Writes a product over ``kept`` times what is there. Nothing is prepared for a shape, which would be large."""
    known = library()
    multiply = known.dnnl_sgemm if a.dtype == paddle.float32 else known.dnnl_gemm_bf16bf16f32
    # Views of transposed tensors are laid out anew.
    a, b = (tensor if tensor.is_contiguous() else tensor.contiguous() for tensor in (a, b))
    status = multiply(
        *(b"T" if turn else b"N" for turn in turned),
        *(shape[0], shape[2], shape[1]),
        *(1.0, a.data_ptr(), a.shape[1], b.data_ptr(), b.shape[1]),
        *(kept, made.data_ptr(), made.shape[1]),
    )
    check(status, "a product")


def reordering(given: Pointer, made: Pointer) -> Operation:
    """Lays a tensor out anew, or in another type."""
    return Operation("reorder", (given, engine(), made, engine()), [(SRC, given), (DST, made)])


@lru_cache(maxsize=KEPT)
def _cast(size: int, given: int, made: int) -> Operation:
    return reordering(*(layout((size,), (1,), kind) for kind in (given, made)))


def rounded(x: paddle.Tensor) -> paddle.Tensor:
    """A float32 tensor in bfloat16, rounded to the nearest."""
    made = paddle.empty(x.shape, paddle.bfloat16)
    if x.size:
        _cast(x.size, F32, BF16)(x, made)
    return made


def widened(x: paddle.Tensor) -> paddle.Tensor:
    """A bfloat16 tensor in float32."""
    made = paddle.empty(x.shape, paddle.float32)
    if x.size:
        _cast(x.size, BF16, F32)(x, made)
    return made


@lru_cache(maxsize=KEPT)
def _norm(rows: int, width: int, epsilon: float) -> Operation:
    states, statistics, weights = plain((rows, width)), _vector(rows), _vector(width)
    details = (engine(), FORWARD_TRAINING, states, states, statistics, _real(epsilon), _SCALE_AND_SHIFT)
    arguments = [(SRC, states), (_SCALE, weights), (_SHIFT, weights)]
    given = [(DST, states), (_MEAN, statistics), (_VARIANCE, statistics)]
    return Operation("layer_normalization_forward", details, [*arguments, *given])


@lru_cache(maxsize=KEPT)
def _norm_gradient(rows: int, width: int, epsilon: float) -> Operation:
    states, statistics, weights = plain((rows, width)), _vector(rows), _vector(width)
    forward = _norm(rows, width, epsilon)
    details = (engine(), BACKWARD, states, states, states, statistics, _real(epsilon), _SCALE_AND_SHIFT, forward.about)
    arguments = [(SRC, states), (_MEAN, statistics), (_VARIANCE, statistics), (DIFF_DST, states)]
    # It counts the shift among its inputs, though the gradients do not depend on it: the weight stands in for it.
    arguments += [(_SCALE, weights), (_SHIFT, weights)]
    given = [(DIFF_SRC, states), (_DIFF_SCALE, weights), (_DIFF_SHIFT, weights)]
    return Operation("layer_normalization_backward", details, [*arguments, *given])


def norm(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, epsilon: float) -> tuple[paddle.Tensor, ...]:
    """Layer norm over the last dimension, float32: the result, and the mean and the variance of each row."""
    width = x.shape[-1]
    rows = x.size // width
    made, mean, variance = paddle.empty_like(x), paddle.empty([rows], x.dtype), paddle.empty([rows], x.dtype)
    if not rows:
        return made, mean, variance
    _norm(rows, width, epsilon)(x, weight, bias, made, mean, variance)
    return made, mean, variance


def norm_gradient(
    x: paddle.Tensor,
    mean: paddle.Tensor,
    variance: paddle.Tensor,
    weight: paddle.Tensor,
    grad: paddle.Tensor,
    epsilon: float,
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """The gradients of what :func:`norm` read, of its weight and of its bias, from that of what it gave."""
    width = x.shape[-1]
    if not x.size:
        return paddle.empty_like(x), paddle.zeros_like(weight), paddle.zeros_like(weight)
    of_x, of_weight, of_bias = paddle.empty_like(x), paddle.empty_like(weight), paddle.empty_like(weight)
    _norm_gradient(x.size // width, width, epsilon)(x, mean, variance, grad, weight, weight, of_x, of_weight, of_bias)
    return of_x, of_weight, of_bias


@lru_cache(maxsize=KEPT)
def _gelu(size: int) -> Operation:
    states = _vector(size)
    details = (engine(), FORWARD_TRAINING, _GELU_ERF, states, states, _real(0), _real(0))
    return Operation("eltwise_forward", details, [(SRC, states), (DST, states)])


@lru_cache(maxsize=KEPT)
def _gelu_gradient(size: int) -> Operation:
    states, forward = _vector(size), _gelu(size)
    details = (engine(), _GELU_ERF, states, states, states, _real(0), _real(0), forward.about)
    return Operation("eltwise_backward", details, [(SRC, states), (DIFF_DST, states), (DIFF_SRC, states)])


def gelu(x: paddle.Tensor) -> paddle.Tensor:
    """x times the share of a normal distribution below it (by the error function), float32."""
    made = paddle.empty_like(x)
    if x.size:
        _gelu(x.size)(x, made)
    return made


def gelu_gradient(x: paddle.Tensor, grad: paddle.Tensor) -> paddle.Tensor:
    """The gradient of what :func:`gelu` read, from that of what it gave."""
    made = paddle.empty_like(x)
    if x.size:
        _gelu_gradient(x.size)(x, grad, made)
    return made
