"""The compiled functions of FlowLM and Mimi, and one model's weights for them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int

from pocket_tts_jax.config import Config
from pocket_tts_jax.generation.process import OwnProcess
from pocket_tts_jax.model import flow_lm
from pocket_tts_jax.model.flow_lm import FlowLM, FlowLMState, StepOutput
from pocket_tts_jax.model.mimi import DecoderState, EncoderState, Mimi

Params = dict[str, Any]


class Functions:
    """The compiled functions of one configuration.

    Reading the cache and writing the new rows are two calls: see `flow_lm.append`.
    """

    def __init__(self, flow_lm_module: FlowLM, mimi_module: Mimi):
        self.flow_lm = flow_lm_module
        self.mimi = mimi_module
        self.process = OwnProcess()
        self.read_text = jax.jit(self._read_text)
        self.read = jax.jit(self._read)
        self.embed_voice = jax.jit(self._embed_voice)
        self.propose = jax.jit(self._propose, static_argnames="flow_steps")
        self.append = jax.jit(flow_lm.append, donate_argnums=0)
        self.decode = jax.jit(self._decode, donate_argnums=2)
        self.encode = jax.jit(self._encode, donate_argnums=1)

    def _lm(self, params: Params, *args: Any, method: str, **kwargs: Any) -> Any:
        return self.flow_lm.apply({"params": params}, *args, method=method, **kwargs)

    def prefill_text(
        self, params: Params, state: FlowLMState, tokens: np.ndarray, length: np.ndarray
    ) -> FlowLMState:
        """Read [b, t] tokens, the first `length` of which count. `state` is donated."""
        return self.append(state, self.read_text(params, state, tokens), length)

    def prefill(
        self, params: Params, state: FlowLMState, embeddings: np.ndarray, length: np.ndarray
    ) -> FlowLMState:
        """Read [b, t, d] embeddings, the first `length` of which count. `state` is donated."""
        return self.append(state, self.read(params, state, embeddings), length)

    def step(
        self, params: Params, state: FlowLMState, latent: Any, noise: Any, flow_steps: int
    ) -> tuple[StepOutput, FlowLMState]:
        """One frame. `state` is donated."""
        output, rows = self.propose(params, state, latent, noise, flow_steps=flow_steps)
        return output, self.append(state, rows, np.ones(noise.shape[0], np.int32))

    def _read_text(self, params: Params, state: FlowLMState, tokens: Int[Array, "b t"]) -> Any:
        embeddings = self._lm(params, tokens, method="embed_text")
        return self._lm(params, embeddings, state, method="forward")[1]

    def _read(self, params: Params, state: FlowLMState, embeddings: Float[Array, "b t d"]) -> Any:
        return self._lm(params, embeddings, state, method="forward")[1]

    def _embed_voice(self, params: Params, encoded: Float[Array, "b t encoded"]) -> Array:
        return self._lm(params, encoded, method="embed_voice")

    def _propose(
        self, params: Params, state: FlowLMState, latent: Array, noise: Array, flow_steps: int
    ) -> tuple[StepOutput, tuple[flow_lm.KVCache, ...]]:
        return self._lm(params, state, latent, noise, flow_steps, method="propose")

    def _decode(
        self,
        lm_params: Params,
        mimi_params: Params,
        state: DecoderState,
        latents: Float[Array, "b n z"],
    ) -> tuple[Float[Array, "b samples"], DecoderState]:
        raw = latents * lm_params["emb_std"][None, None] + lm_params["emb_mean"][None, None]
        return self.mimi.apply({"params": mimi_params}, state, raw, method="decode_step")  # pyright: ignore

    def _encode(
        self, params: Params, state: EncoderState, audio: Float[Array, "b samples"]
    ) -> tuple[Float[Array, "b n encoded"], EncoderState]:
        return self.mimi.apply({"params": params}, state, audio, method="encode_step")  # pyright: ignore


@lru_cache(maxsize=8)
def compiled_functions(flow_lm_module: FlowLM, mimi_module: Mimi) -> Functions:
    """The functions of one architecture, shared by its models: they are compiled once."""
    return Functions(flow_lm_module, mimi_module)


@dataclass(frozen=True, eq=False)
class Network:
    """One model: compiled functions, and the weights that they take as arguments.

    With several devices each has all weights, and `rows` divides the rows of a batch among them.
    """

    config: Config
    functions: Functions
    flow_lm_params: Params
    mimi_params: Params
    most_rows: int  # of a batch, for each device
    rows: NamedSharding | None

    @property
    def devices(self) -> int:
        return 1 if self.rows is None else self.rows.mesh.size

    @property
    def process(self) -> OwnProcess:
        return self.functions.process
