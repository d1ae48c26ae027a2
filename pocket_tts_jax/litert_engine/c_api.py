"""The part of LiteRT's C interface that the engine needs, bound with ctypes.

The wheel `ai-edge-litert` contains the C library that apps on phones link to. Its Python classes
cannot describe a host buffer of more than one dimension, so they cannot run a graph on caches that
stay in place; the C interface can. A port in Swift, Kotlin or C makes the same calls in the same
order.
"""

import ctypes
import functools
import importlib.util
import math
import mmap
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pocket_tts_jax.errors import GenerationError

ALIGNMENT = 64  # bytes; LiteRT refuses host buffers that start elsewhere
MAX_RANK = 8
_HUGE = 1 << 22  # bytes; NumPy asks Linux for huge pages for arrays of this size and more

_CPU = 1  # kLiteRtHwAcceleratorCpu
_TAG_ACCELERATORS = 24  # kLiteRtEnvOptionTagAutoRegisterAccelerators
_TAG_LOG_SEVERITY = 25  # kLiteRtEnvOptionTagMinLoggerSeverity
_ANY_INT = 2  # kLiteRtAnyTypeInt
_LOG_ERROR = 3
_DTYPES = {1: np.dtype(np.float32), 2: np.dtype(np.int32)}  # kTfLiteFloat32, kTfLiteInt32
_LIBRARY = {"darwin": "libLiteRt.dylib", "win32": "libLiteRt.dll"}


class _Layout(ctypes.Structure):
    _fields_ = [
        ("rank", ctypes.c_uint, 7),
        ("has_strides", ctypes.c_uint, 1),
        ("dimensions", ctypes.c_int32 * MAX_RANK),
        ("strides", ctypes.c_uint32 * MAX_RANK),
    ]


class _TensorType(ctypes.Structure):
    _fields_ = [("element_type", ctypes.c_int), ("layout", _Layout)]


class _Any(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("value", ctypes.c_int64)]


class _Option(ctypes.Structure):
    _fields_ = [("tag", ctypes.c_int), ("value", _Any)]


def library_path() -> Path:
    """Path of the installed LiteRT C library."""
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations:
        raise GenerationError(
            "the LiteRT engine needs ai-edge-litert: pip install 'pocket-tts-jax'"
        )
    name = _LIBRARY.get(sys.platform, "libLiteRt.so")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise GenerationError(
            f"{path} is missing: this ai-edge-litert has no C library for {sys.platform}; "
            "install ai-edge-litert 2.3 or use --engine jax"
        )
    return path


@functools.cache
def library() -> Any:
    """The loaded C library; every function returns a status, 0 for success."""
    path = library_path()
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise GenerationError(
            f"{path} cannot be loaded ({error}): install ai-edge-litert again, or raise this "
            "process's limit of memory (ulimit -v)"
        ) from error


def call(name: str, *arguments: Any) -> None:
    """Call one C function. Raises GenerationError if it reports a failure."""
    status = getattr(library(), name)(*arguments)
    if status != 0:
        raise GenerationError(f"LiteRT: {name} failed with status {status}")


def pointer(name: str, *arguments: Any) -> ctypes.c_void_p:
    """Call one C function whose last argument receives a handle, and return that handle."""
    handle = ctypes.c_void_p()
    call(name, *arguments, ctypes.byref(handle))
    return handle


@functools.cache
def environment() -> ctypes.c_void_p:
    """The process's LiteRT environment: CPU only (nothing probes for a GPU), errors logged."""
    options = (_Option * 2)(
        _Option(_TAG_ACCELERATORS, _Any(_ANY_INT, _CPU)),
        _Option(_TAG_LOG_SEVERITY, _Any(_ANY_INT, _LOG_ERROR)),
    )
    return pointer("LiteRtCreateEnvironment", ctypes.c_int(len(options)), options)


def aligned_zeros(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """A zeroed C-contiguous array whose memory LiteRT accepts without a copy."""
    size = math.prod(shape) * dtype.itemsize
    # XNNPACK may read a little past the end (it documents 16 bytes), so the buffer is longer.
    length = size + 2 * ALIGNMENT
    if sys.platform != "linux" or size < _HUGE:
        raw = np.zeros(length, np.uint8)
    else:  # not in huge pages, so that rows of a cache that are never written take no memory
        raw = np.frombuffer(mmap.mmap(-1, length, access=mmap.ACCESS_COPY), np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def host_buffer(array: np.ndarray) -> ctypes.c_void_p:
    """A tensor buffer over the memory of an aligned array; the caller keeps the array alive."""
    address = array.ctypes.data
    if array.dtype not in _DTYPES.values() or address % ALIGNMENT or not array.flags.c_contiguous:
        raise GenerationError(
            f"got an array of {array.dtype} at {address:#x}; make it with aligned_zeros"
        )
    return pointer(
        "LiteRtCreateTensorBufferFromHostMemory",
        ctypes.byref(_tensor_type(array.dtype, array.shape)),
        ctypes.c_void_p(address),
        ctypes.c_size_t(array.nbytes),
        None,
    )


@functools.cache
def _tensor_type(dtype: np.dtype, shape: tuple[int, ...]) -> "_TensorType":
    kind = next(key for key, value in _DTYPES.items() if value == dtype)
    layout = _Layout(rank=len(shape), has_strides=0)
    layout.dimensions[: len(shape)] = shape
    return _TensorType(kind, layout)


def tensor_description(tensor: ctypes.c_void_p) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of a model's tensor."""
    described = _TensorType()
    call("LiteRtGetRankedTensorType", tensor, ctypes.byref(described))
    if described.element_type not in _DTYPES:
        raise GenerationError(
            f"a tensor of element type {described.element_type} is not float32 or int32; "
            "export the model again with this version"
        )
    return (
        tuple(described.layout.dimensions[: described.layout.rank]),
        _DTYPES[described.element_type],
    )


def text_of(name: str, *arguments: Any) -> str:
    """Call one C function whose last argument receives a C string."""
    value = ctypes.c_char_p()
    call(name, *arguments, ctypes.byref(value))
    return (value.value or b"").decode()


def count_of(name: str, *arguments: Any) -> int:
    """Call one C function whose last argument receives a count."""
    value = ctypes.c_size_t()
    call(name, *arguments, ctypes.byref(value))
    return value.value


def cpu_options(threads: int, weight_cache: str) -> ctypes.c_void_p:
    """Options of a compiled model: CPU, a thread count, and the file of packed weights."""
    # Not TOML: the value of a line is everything between its first and its last quote, unescaped.
    text = f'num_threads = {threads}\nweight_cache_file_path = "{weight_cache}"\n'
    payload = ctypes.create_string_buffer(text.encode())
    options = pointer("LiteRtCreateOptions")
    call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
    opaque = pointer("LiteRtCreateOpaqueOptions", b"xnnpack", payload, _keep_payload)
    call("LiteRtAddOpaqueOptions", options, opaque)
    # The options point to the text (and to the path in it), so it must be kept alive.
    _PAYLOADS[options.value] = payload
    return options


_PAYLOADS: dict[int | None, Any] = {}


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _keep_payload(_: int) -> None:
    """What LiteRT calls in place of freeing a payload: Python owns it.

    There is one for the whole process. If each thread could make its own, LiteRT would call one
    that Python has freed.
    """


def destroy_options(options: ctypes.c_void_p) -> None:
    """Release options made by `cpu_options`."""
    library().LiteRtDestroyOptions(options)
    _PAYLOADS.pop(options.value, None)
