"""A model file whose signatures are opened in groups, each when it is first needed."""

import threading
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

import numpy as np

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
from pocket_tts_jax.litert_engine.runtime import Call, LiteRTModel, names_in
from pocket_tts_jax.litert_engine.turns import Turns


class GroupedModel:
    """One model file, and a `LiteRTModel` for each group of its signatures that is in use.

    To open a signature takes about 5 ms and 2 MB, and most speech needs less than half of them.
    Weights that are packed in memory belong to one `LiteRTModel`: then all signatures are one
    group.

    Args:
        path, threads, weight_cache, turns: see `LiteRTModel`.
        group_of: the group of a signature, by its name.
    """

    def __init__(
        self,
        path: Path,
        group_of: Callable[[str], Hashable],
        *,
        threads: int,
        weight_cache: str,
        turns: Turns,
    ) -> None:
        self.path, self.names = path, tuple(names_in(path))
        self._threads, self._weight_cache, self._turns = threads, weight_cache, turns
        whole = weight_cache == IN_MEMORY
        self._groups = {name: None if whole else group_of(name) for name in self.names}
        self._opened: dict[Hashable, LiteRTModel] = {}
        self._lock, self._closed = threading.Lock(), False

    def bind(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray] | None = None,
        outputs: Mapping[str, np.ndarray] | None = None,
    ) -> Call:
        """`LiteRTModel.bind`, after opening the group of this signature if it is not open."""
        return self.open(signature).bind(signature, inputs, outputs)

    def open(self, signature: str) -> LiteRTModel:
        """The model that has this signature."""
        if signature not in self._groups:
            raise GenerationError(
                f"{self.path.name} has no signature {signature!r}; it has {', '.join(self.names)}"
            )
        group = self._groups[signature]
        with self._lock:
            if self._closed:
                raise GenerationError(f"{self.path.name} is closed; open the engine again")
            if group not in self._opened:
                self._opened[group] = LiteRTModel(
                    self.path,
                    threads=self._threads,
                    weight_cache=self._packed(),
                    turns=self._turns,
                    signatures=[name for name in self.names if self._groups[name] == group],
                )
            return self._opened[group]

    def _packed(self) -> str:
        """The packed weights. Where the user has emptied the cache meanwhile, XNNPACK would begin a
        file of this group alone: it packs in memory then."""
        there = self._weight_cache == IN_MEMORY or Path(self._weight_cache).is_file()
        return self._weight_cache if there else IN_MEMORY

    def release_pages(self) -> None:
        """`LiteRTModel.release_pages` of all."""
        with self._lock:
            for model in self._opened.values():
                model.release_pages()

    def close(self) -> None:
        """Free what is open. Using it afterwards raises GenerationError."""
        with self._lock:
            self._closed = True
            opened = list(self._opened.values())
        for model in opened:  # each waits for its turn, where others may wait for the lock
            model.close()
