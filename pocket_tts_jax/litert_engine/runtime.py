"""Runs the signatures of a `.tflite` file on host buffers that the caller owns."""

import ctypes
import mmap
import struct
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.files.read import check_regular
from pocket_tts_jax.generation.process import OwnProcess
from pocket_tts_jax.litert_engine import c_api as litert_c
from pocket_tts_jax.litert_engine import flatbuffer
from pocket_tts_jax.litert_engine.greeting import without_greeting
from pocket_tts_jax.litert_engine.turns import Turns


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of one input or output of a signature."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class SignatureSpec:
    """Inputs and outputs of one entry point of a model, in call order."""

    name: str
    index: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class LiteRTModel:
    """A compiled `.tflite` model on the CPU.

    Args:
        path: the model file; it is memory-mapped.
        threads: number of threads of a run, including the calling one.
        turns: held during a run; models that share it run one at a time.
        weight_cache: file of packed weights, written when it is missing and memory-mapped
            afterwards, or `packed_weights.IN_MEMORY`. Without one of them every signature would
            pack its own copy.
        signatures: names of the only signatures to open; None opens all. Each takes time and
            memory, whether it runs or not.

    Raises:
        GenerationError: the file is not a model that LiteRT can run.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        weight_cache: str,
        turns: Turns | None = None,
        signatures: Collection[str] | None = None,
    ) -> None:
        if threads < 1:
            raise GenerationError(f"got threads={threads}, expected 1 or more")
        self.path = path
        self._turns = turns or Turns()
        self._compiled: ctypes.c_void_p | None = None
        self._file, self._written = _map(path, signatures)
        model = litert_c.pointer(
            "LiteRtCreateModelFromBuffer",
            litert_c.environment(),
            ctypes.c_void_p(self._file.ctypes.data),
            ctypes.c_size_t(self._file.size),
        )
        handles = [("LiteRtDestroyModel", model)]
        # Unlike `__del__`, it runs before the interpreter shuts down its modules.
        self._destroy = weakref.finalize(self, _destroy, handles)
        self._process = OwnProcess()  # waits for what computes before models are destroyed
        options = litert_c.cpu_options(threads, weight_cache)
        try:
            with without_greeting():
                self._compiled = litert_c.pointer(
                    "LiteRtCreateCompiledModel", litert_c.environment(), model, options
                )
            handles.insert(0, ("LiteRtDestroyCompiledModel", self._compiled))
        finally:
            litert_c.destroy_options(options)
        self.signatures = _read_signatures(model)
        self.release_pages()

    def bind(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray] | None = None,
        outputs: Mapping[str, np.ndarray] | None = None,
    ) -> "Call":
        """Bind a signature to arrays made by `aligned_zeros`; inputs and outputs that are not given
        get new arrays.

        The returned call reads its inputs and overwrites its outputs in place.
        """
        if signature not in self.signatures:
            raise GenerationError(
                f"{self.path.name} has no signature {signature!r}; it has "
                f"{', '.join(self.signatures)}"
            )
        spec = self.signatures[signature]
        return Call(
            self,
            spec,
            _complete(spec.name, spec.inputs, inputs or {}),
            _complete(spec.name, spec.outputs, outputs or {}),
        )

    def states(self) -> dict[str, np.ndarray]:
        """Zeros for every state tensor: an input that has the same name as an output."""
        found = {}
        for spec in self.signatures.values():
            names = {tensor.name for tensor in spec.outputs}
            found |= {t.name: t for t in spec.inputs if t.name in names}
        return {t.name: litert_c.aligned_zeros(t.shape, t.dtype) for t in found.values()}

    def run(self, index: int, inputs: ctypes.Array, outputs: ctypes.Array) -> None:
        """Run one signature; calls from several threads take turns."""
        with self._process, self._turns:
            litert_c.call(
                "LiteRtRunCompiledModel",
                self._handle(),
                ctypes.c_size_t(index),
                ctypes.c_size_t(len(inputs)),
                inputs,
                ctypes.c_size_t(len(outputs)),
                outputs,
            )

    def release_pages(self) -> None:
        """Release the pages of the file that were read: runs use the packed weights, and text
        embeddings are read again on demand. Saves 10 MB."""
        advice = getattr(mmap, "MADV_DONTNEED", None)  # not on every system
        if advice is None:
            return
        mapped = self._file._mmap  # pyright: ignore[reportAttributeAccessIssue]
        begin = 0
        for start, end in [*self._written, (len(mapped), len(mapped))]:
            size = start // mmap.PAGESIZE * mmap.PAGESIZE - begin
            if size > 0:
                mapped.madvise(advice, begin, size)
            begin = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE

    def close(self) -> None:
        """Free the model. Using it afterwards raises GenerationError."""
        with self._turns:
            self._compiled = None
            self._destroy()

    def _handle(self) -> ctypes.c_void_p:
        if self._compiled is None:
            raise GenerationError(f"{self.path.name} is closed; open the engine again")
        return self._compiled


class Call:
    """A signature with its buffers: `call.inputs["x"][...] = …; call(); call.outputs["y"]`."""

    def __init__(
        self,
        model: LiteRTModel,
        spec: SignatureSpec,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
    ) -> None:
        self._model = model
        self.name, self._index = spec.name, spec.index
        self.inputs = dict(inputs)
        self.outputs = dict(outputs)
        buffers = [litert_c.host_buffer(inputs[tensor.name]) for tensor in spec.inputs]
        buffers += [litert_c.host_buffer(outputs[tensor.name]) for tensor in spec.outputs]
        weakref.finalize(self, _destroy, [("LiteRtDestroyTensorBuffer", b) for b in buffers])
        handles = [buffer.value for buffer in buffers]
        count = len(spec.inputs)
        self._input_handles = (ctypes.c_void_p * count)(*handles[:count])
        self._output_handles = (ctypes.c_void_p * len(spec.outputs))(*handles[count:])

    def __call__(self) -> None:
        self._model.run(self._index, self._input_handles, self._output_handles)


def names_in(path: Path) -> list[str]:
    """The names of the signatures of a model file. Raises GenerationError if it is none."""
    with _readable(path):
        return flatbuffer.signature_names(np.memmap(path, np.uint8, "r"))


def _map(path: Path, signatures: Collection[str] | None) -> tuple[np.memmap, list[tuple[int, int]]]:
    """A file with only these signatures, and the (start, end) of what differs from the file."""
    with _readable(path):
        if signatures is None:
            return np.memmap(path, np.uint8, "r"), []
        file = np.memmap(path, np.uint8, "c")  # what is written stays in memory
        return file, sorted(flatbuffer.keep_signatures(file, signatures))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise GenerationError for a file that cannot be read, or is no model."""
    try:
        check_regular(path)
        yield
    except (OSError, ValueError, struct.error) as error:
        raise GenerationError(f"{path} cannot be read ({error}); export the model again") from error


def _destroy(handles: list[tuple[str, ctypes.c_void_p]]) -> None:
    for function, handle in handles:
        getattr(litert_c.library(), function)(handle)


def _complete(
    signature: str, specs: tuple[TensorSpec, ...], given: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    arrays = {}
    for spec in specs:
        array = given.get(spec.name)
        if array is None:
            array = litert_c.aligned_zeros(spec.shape, spec.dtype)
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise GenerationError(
                f"{spec.name!r} of {signature} is {array.dtype}{list(array.shape)}, "
                f"expected {spec.dtype}{list(spec.shape)}"
            )
        arrays[spec.name] = array
    return arrays


def _read_signatures(model: ctypes.c_void_p) -> dict[str, SignatureSpec]:
    found = {}
    for index in range(litert_c.count_of("LiteRtGetNumModelSignatures", model)):
        signature = litert_c.pointer("LiteRtGetModelSignature", model, ctypes.c_size_t(index))
        name = litert_c.text_of("LiteRtGetSignatureKey", signature)
        found[name] = SignatureSpec(
            name, index, _tensors(signature, "Input"), _tensors(signature, "Output")
        )
    return found


def _tensors(signature: ctypes.c_void_p, role: str) -> tuple[TensorSpec, ...]:
    specs = []
    for position in range(litert_c.count_of(f"LiteRtGetNumSignature{role}s", signature)):
        at = ctypes.c_size_t(position)
        name = litert_c.text_of(f"LiteRtGetSignature{role}Name", signature, at)
        tensor = litert_c.pointer(f"LiteRtGetSignature{role}TensorByIndex", signature, at)
        specs.append(TensorSpec(name, *litert_c.tensor_description(tensor)))
    return tuple(specs)
