"""Weight files, memory-mapped, in the checkpoint's own names and layout.

Read are the published file (`flow_lm.…` and `mimi.…` together), and the separate FlowLM and Mimi
files of the training stack, whose names are translated here. If a file does not match the
configuration, one error names every missing, unexpected and misshapen tensor.
"""

import hashlib
import math
import mmap
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pocket_tts_jax.errors import CheckpointError, CheckpointNotFound
from pocket_tts_jax.files.content import read_safetensors_header
from pocket_tts_jax.files.read import check_regular
from pocket_tts_jax.files.verify import damage
from pocket_tts_jax.weights.expected import Shape

Tensors = dict[str, np.ndarray]

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,  # widened by `as_float32`
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_NAMES_SHOWN = 12
_PYTORCH = (".pt", ".pth", ".ckpt", ".bin")


class MappedTensor:
    """One tensor of a mapped file; `as_float32` reads it."""

    def __init__(self, data: np.ndarray, stored_as: str):
        self.data = data
        self.stored_as = stored_as

    @property
    def shape(self) -> Shape:
        return self.data.shape

    def as_float32(self) -> np.ndarray:
        """The tensor in float32: a view of the file if it is stored in float32, else a copy."""
        if self.stored_as == "BF16":
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        return self.data.astype(np.float32, copy=False)


def map_safetensors(path: Path) -> dict[str, MappedTensor]:
    """Every tensor of a safetensors file, mapped. CheckpointError where the file is damaged, also
    where it has not the checksum in `SHA256SUMS` beside it."""
    if path.suffix in _PYTORCH:
        raise CheckpointError(_how_to_convert(path))
    try:
        check_regular(path)
        if (reason := damage(path)) is not None:
            raise CheckpointError(f"{reason} Download or copy it again.")
        with open(path, "rb") as file:
            header, start = read_safetensors_header(file)
        data = np.memmap(path, np.uint8, "r")[start:]
        return {name: _map_tensor(data, entry) for name, entry in header.items()}
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointNotFound(f"There is no weight file at {path}. Check the path.") from None
    except OSError as error:
        raise CheckpointError(f"The weight file {path} cannot be read: {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(
            f"The weight file {path} is damaged or not a safetensors file ({error}). "
            "Delete it and download or copy it again."
        ) from error


def _how_to_convert(path: Path) -> str:
    return (
        f"{path} is a PyTorch checkpoint. Only PyTorch can read it, and reading it can run code "
        "that it brings along. Convert it to safetensors where pocket-tts is installed; "
        "docs/migrating.md has the four lines that do it."
    )


def _map_tensor(data: np.ndarray, entry: Mapping) -> MappedTensor:
    start, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    shape = tuple(entry["shape"])
    if any(type(size) is not int or size < 0 for size in (*shape, start, end)):
        raise ValueError("a size in its header is no whole number")
    expected = math.prod(shape) * dtype.itemsize
    if not start <= end <= data.size or end - start != expected:
        raise ValueError("the place of a tensor does not fit the file")
    return MappedTensor(data[start:end].view(dtype).reshape(shape), entry["dtype"])


def load_checkpoint(path: Path, shapes: Mapping[str, Shape]) -> Tensors:
    """The tensors of one published file, checked against `shapes`."""
    found = map_safetensors(path)
    check_tensors({name: t.shape for name, t in found.items()}, shapes, str(path))
    return _finite({name: found[name].as_float32() for name in shapes}, str(path))


def load_split_checkpoint(flow_lm: Path, mimi: Path, shapes: Mapping[str, Shape]) -> Tensors:
    """The tensors of a FlowLM and a Mimi file with the training stack's names."""
    tensors = _renamed(map_safetensors(flow_lm), _flow_lm_name, "flow_lm.")
    tensors |= _renamed(map_safetensors(mimi), _mimi_name, "mimi.")
    where = f"{flow_lm} with {mimi}"
    check_tensors({name: t.shape for name, t in tensors.items()}, shapes, where)
    return _finite({name: tensors[name] for name in shapes}, where)


def replace_mimi(tensors: Tensors, mimi: Path, shapes: Mapping[str, Shape]) -> Tensors:
    """`tensors` with Mimi replaced by that of another file."""
    replaced = _renamed(map_safetensors(mimi), _mimi_name, "mimi.")
    wanted = {name: shape for name, shape in shapes.items() if name.startswith("mimi.")}
    check_tensors({name: t.shape for name, t in replaced.items()}, wanted, str(mimi))
    return tensors | _finite(replaced, str(mimi))


def check_tensors(found: Mapping[str, Shape], shapes: Mapping[str, Shape], where: str) -> None:
    """Raise one CheckpointError with every difference between the tensors and `shapes`."""
    missing = [name for name in shapes if name not in found]
    unexpected = [name for name in found if name not in shapes]
    misshapen = [
        f"{name} (is {list(found[name])}, should be {list(shape)})"
        for name, shape in shapes.items()
        if name in found and found[name] != shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    lines = [f"  {len(v)} {k}: {_listing(v)}" for k, v in problems.items() if v]
    if lines:
        raise CheckpointError(
            f"The weights in {where} do not fit the configuration:\n" + "\n".join(lines) + "\n"
            "Check that the configuration belongs to these weights."
        )


def _listing(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _finite(tensors: Tensors, where: str) -> Tensors:
    """Refuse NaN and infinity, typical of damaged files; a sum is finite only without them."""
    broken = []
    for name, tensor in tensors.items():
        if not np.isfinite(np.sum(tensor)):
            broken.append(name)
        release(tensor)
    if broken:
        raise CheckpointError(
            f"The weights in {where} hold values that are not finite, in {_listing(broken)}: "
            "the file is damaged. Delete it and download or copy it again."
        )
    return tensors


def release(tensor: np.ndarray) -> None:
    """Give the pages of a mapped file back to the system; they are read again on the next access.

    Otherwise the file's pages count in the process's memory besides the copies made of them.
    """
    mapped = getattr(tensor, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def release_all(tensors: Mapping[str, np.ndarray]) -> None:
    """`release` each of `tensors`."""
    for tensor in tensors.values():
        release(tensor)


def _renamed(
    found: Mapping[str, MappedTensor], rename: Callable[[str], str | None], prefix: str
) -> Tensors:
    """Rename one file of a split checkpoint, and multiply out its weight-norm pairs."""
    if any(name.startswith(prefix) for name in found):  # already in the published names
        return {n: t.as_float32() for n, t in found.items() if n.startswith(prefix)}
    tensors = {}
    for name, tensor in found.items():
        new = rename(name)
        if new is None:
            continue
        values = tensor.as_float32()
        if name.endswith(".weight_g"):
            values = _weight_norm(found[name[:-1] + "v"].as_float32(), values)
        tensors[prefix + new] = values
    return tensors


def _weight_norm(direction: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """weight = g · v / ‖v‖, the norm over all but the first axis (Salimans & Kingma 2016)."""
    axes = tuple(range(1, direction.ndim))
    return gain * direction / np.sqrt(np.sum(np.square(direction), axis=axes, keepdims=True))


_FLOW_LM_NAMES = {
    "condition_provider.conditioners.transcript_in_segment.embed.weight": (
        "conditioner.embed.weight"
    ),
    "condition_provider.conditioners.speaker_wavs.output_proj.weight": "speaker_proj_weight",
    "fuser.padding_value": "bos_before_voice",
}
_FLOW_LM_SKIPPED = re.compile(
    r"flow\.w_s_t\.|num_ema_updates$|"
    r"condition_provider\.conditioners\.(transcript_in_segment|speaker_wavs)\.learnt_padding$"
)
_MIMI_SKIPPED = re.compile(
    r"model\.quantizer\.vq\.|(model\.)?quantizer\.logvar_proj\.weight$|quantizer\.logvar_param$|"
    r".*_codebook|.*\.weight_v$|wavlm_input_resample\.kernel$|wavlm_proj\.weight$|"
    r".*wavlm_emb_downsample"
)


def _flow_lm_name(name: str) -> str | None:
    if _FLOW_LM_SKIPPED.match(name):
        return None
    name = _FLOW_LM_NAMES.get(name, name)
    return name.replace(".self_attn.in_proj_weight", ".self_attn.in_proj.weight")


def _mimi_name(name: str) -> str | None:
    if _MIMI_SKIPPED.match(name):
        return None
    name = name.removeprefix("model.").removesuffix("_g") if name.endswith("_g") else name
    return (
        name.removeprefix("model.")
        .replace(".conv.conv.", ".conv.")
        .replace(".convtr.convtr.", ".convtr.")
        .replace("in_proj_weight", "in_proj.weight")
    )


# How a name splits into modules: an index stays with the name of its list, and a parameter of a
# convolution or table with the name of its wrapper.
_PATH = re.compile(
    r"(?:quantizer\.output_proj|downsample\.conv|upsample\.convtr)"
    r"|(?:conv|convtr|embed)\.(?:weight|bias)$|[^.]+(?:\.\d+)?"
)


def parameter_tree(tensors: Mapping[str, Any]) -> dict:
    """Nest {name: leaf} as the Flax modules expect it. The path of a leaf, joined by dots, is its
    name."""
    tree: dict = {}
    for name, tensor in tensors.items():
        *modules, leaf = _PATH.findall(name)
        branch = tree
        for module in modules:
            branch = branch.setdefault(module, {})
        branch[leaf] = tensor
    return tree


def fingerprint(tensors: Mapping[str, np.ndarray], prefix: str = "") -> str:
    """A hash of the values of `tensors` under `prefix`, from a sample of each: 32 hex digits.

    With the prefix "flow_lm.transformer." it identifies the model of a voice state; without one,
    the model that encoded a recording. Only three short pieces of each tensor are read.
    """
    digest = hashlib.sha256()
    for name in sorted(name for name in tensors if name.startswith(prefix)):
        values = tensors[name].reshape(-1)
        digest.update(f"{name}{tensors[name].shape}{values.dtype.str}".encode())
        for start in sorted({0, values.size // 2, max(values.size - 64, 0)}):
            digest.update(values[start : start + 64].tobytes())
    return digest.hexdigest()[:32]
