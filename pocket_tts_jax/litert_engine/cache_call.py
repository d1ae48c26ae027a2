"""A call of FlowLM over caches."""

from pocket_tts_jax.litert_engine.caches import Arrays, side_by_side
from pocket_tts_jax.litert_engine.grouped_model import GroupedModel


class CacheCall:
    """A signature bound to caches: `call()` fills `call.outputs`, and `call.rows` with the keys and
    values of the new positions, [arrays, b, kv_heads, t, head_dim].

    Args:
        model: the model file.
        name: the signature.
        caches: arrays [b, kv_heads, slots, head_dim] by name.
        t: how many positions of each row the signature computes.
    """

    def __init__(self, model: GroupedModel, name: str, caches: Arrays, t: int) -> None:
        b, kv_heads, _, head_dim = next(iter(caches.values())).shape
        self.name = name
        self.rows, arrays = side_by_side(len(caches) // 2, (b, kv_heads, t, head_dim))
        outputs = {f"{array}_rows": new for array, new in arrays.items()}
        self._call = model.bind(name, caches, outputs)
        self.inputs, self.outputs = self._call.inputs, self._call.outputs

    def __call__(self) -> None:
        self._call()
