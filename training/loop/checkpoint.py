"""Training checkpoints: the whole state of a run in one safetensors file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.files.atomic import atomic_file


def write_training(path: Path, state: dict[str, Any], note: dict[str, Any]) -> None:
    """`state` is any tree of arrays; `note` (JSON) is for people and for later runs. The file
    is replaced in one rename: a process killed while writing leaves the old one."""
    leaves = {name: np.asarray(leaf) for name, leaf in _named_leaves(state).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(save(leaves, metadata={"note": json.dumps(note)}))


def read_training(path: Path, like: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(state, note) of a file that `write_training` wrote for a state shaped as `like`."""
    wanted = _named_leaves(like)
    with _opened(path) as file:
        found, note = set(file.keys()), (file.metadata() or {}).get("note")
        if note is None:
            raise CheckpointError(
                f"{path} was not written by a training run. Give --out a name of its own."
            )
        wrong = sorted(found.symmetric_difference(wanted))
        wrong += [
            name
            for name in found & wanted.keys()
            if tuple(file.get_slice(name).get_shape()) != wanted[name].shape
        ]
        if wrong:
            raise CheckpointError(
                f"{path} belongs to another model or optimiser: {', '.join(wrong[:5])} differ. "
                "Resume with the configuration of that run, or train into another file."
            )
        leaves = [jnp.asarray(file.get_tensor(name)) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), json.loads(note)


def read_ema(path: Path, last: bool = False) -> dict[str, np.ndarray]:
    """The averaged tensors of a training checkpoint, by their names in the published format; with
    `last` those of the last step, which are better where the rate has just fallen to zero."""
    prefix = "tensors|" if last else "ema|"
    with _opened(path) as file:
        names = [name for name in file.keys() if name.startswith(prefix)]
        if not names:
            raise CheckpointError(
                f"{path} is no training checkpoint: none of its names begins with {prefix}. Give "
                "the --out of a training run."
            )
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def read_start(path: Path, part: str) -> dict[str, np.ndarray]:
    """What a run begins with: the averages of another, or `part` ("flow_lm." or "mimi.") of the
    model file `path`."""
    with _opened(path) as file:
        names = [name for name in file.keys() if name.startswith(part)]
        if not names:
            return read_ema(path)
        return {n.removeprefix(part): file.get_tensor(n).astype(np.float32) for n in names}


def started(
    tensors: dict[str, np.ndarray], start: dict[str, np.ndarray], where: Path, new: str
) -> dict[str, np.ndarray]:
    """`tensors` with the values of `start`, which `where` holds; only those whose names begin with
    `new` may be missing there."""
    found = {n: start[n] for n in tensors if n in start}
    wrong = [n for n in tensors if n not in found and not n.startswith(new)]
    wrong += [n for n, tensor in found.items() if tensor.shape != tensors[n].shape]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} tensors are missing in {where} or of another shape, among them "
            f"{', '.join(wrong[:5])}. Give --start a run of the same --part and --config."
        )
    return tensors | found


def read_statistics(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the latents, from what `--codec` names."""
    with _opened(path) as file:
        missing = {"latents.mean", "latents.std"} - set(file.keys())
        if missing:
            raise CheckpointError(
                f"{path} lacks {', '.join(sorted(missing))}. Give what training.mel_codec train or "
                "training.encode wrote."
            )
        return file.get_tensor("latents.mean"), file.get_tensor("latents.std")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "np") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a safetensors file ({error}). Check the path."
        ) from error


def _named_leaves(state: dict[str, Any]) -> dict[str, Any]:
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    return {"|".join(_key(k) for k in path): leaf for path, leaf in flat}


def _key(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
