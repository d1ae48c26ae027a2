"""Times the parts of one engine, in a process of its own; the result is one line of JSON.

Medians in ms of: `prefill N` (N tokens), `step` (FlowLM with its flow head, over a cache of
`POSITIONS`), `head` (one evaluation of the flow head: a third of the difference between steps with
four evaluations and with one), and `mimi N` (the decoder on N frames in one call). Both engines get
random numbers, with `POSITION` positions in use: zeros would lead to denormal numbers, which are
slow.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.child import answer

if TYPE_CHECKING:
    from pocket_tts_jax.config import Config
    from pocket_tts_jax.model.flow_lm import FlowLMState

PREFILL = 32
FRAMES = (1, 2, 4, 8)
POSITIONS = 256  # slots of the caches that a step attends to; both engines have this size
POSITION = 128
REPEATS = 25
Parts = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("litert", "jax"), required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    a = parser.parse_args()
    answer(lambda: time_parts(a))


def time_parts(a: argparse.Namespace) -> Parts:
    """Time the parts of the engine that the options name."""
    if a.engine == "jax":
        from pocket_tts_jax.jax_engine.setup import limit_threads

        limit_threads(a.threads)  # before JAX starts its threads
        found = time_jax(a.folder, a.repeats)
    else:
        found = time_litert(a.folder / "exports" / a.precision, a.threads, a.repeats)
    return {name: round(value, 4) for name, value in found.items()}


def median_ms(work: Callable[[], Any], repeats: int) -> float:
    """Median time of `work`, after three calls to warm up."""
    times = []
    for i in range(repeats + 3):
        start = time.perf_counter()
        work()
        if i >= 3:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def median_difference_ms(work: Callable[[], Any], more: Callable[[], Any], repeats: int) -> float:
    """Median of the time of `more` less that of `work`, measured in turns."""
    return statistics.median(
        median_ms(more, 1) - median_ms(work, 1) for _ in range(max(3, repeats // 4))
    )


def time_litert(export: Path, threads: int, repeats: int) -> Parts:
    """Signatures of an export, each on buffers of its own."""
    from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
    from pocket_tts_jax.litert_engine.runtime import LiteRTModel

    flow_lm, mimi = (
        LiteRTModel(export / name, threads=threads, weight_cache=IN_MEMORY)
        for name in ("flow_lm.tflite", "mimi_decoder.tflite")
    )

    rng = np.random.default_rng(0)

    def call_of(model: LiteRTModel, name: str) -> Callable[[], None]:
        call = model.bind(name)
        for input_name, array in call.inputs.items():
            known = input_name == "position"
            array[...] = POSITION if known else rng.standard_normal(array.shape)
        return call

    def signature(model: LiteRTModel, name: str) -> float:
        return median_ms(call_of(model, name), repeats)

    found_names = (re.fullmatch(r"decode_1_c(\d+)", name) for name in flow_lm.signatures)
    capacities = {int(match[1]) for match in found_names if match}
    short, long = min(capacities), max(capacities)
    found = {
        f"prefill {PREFILL}": signature(flow_lm, f"prefill_{PREFILL}_c{short}"),
        "step": signature(flow_lm, f"decode_1_c{short}"),
    }
    if f"decode_4_c{long}" in flow_lm.signatures:
        one, four = (call_of(flow_lm, f"decode_{n}_c{long}") for n in (1, 4))
        found["head"] = median_difference_ms(one, four, repeats) / 3
    for frames in FRAMES:
        found[f"mimi {frames}"] = signature(mimi, f"decode_{frames}")
    return found


def time_jax(folder: Path, repeats: int) -> Parts:
    """The compiled functions that the JAX engine runs."""
    import jax

    from pocket_tts_jax.jax_engine.engine import JaxEngine
    from pocket_tts_jax.tts_model import TTSModel

    engine = cast(JaxEngine, TTSModel.load_model(model=folder, engine="jax").engine)
    functions, params, width = engine.functions, engine.flow_lm_params, engine.config.latent_dim
    rng = np.random.default_rng(0)
    state = random_state(engine.config, rng)
    bins = engine.config.flow_lm.lookup_table.n_bins
    tokens = rng.integers(bins, size=(1, PREFILL), dtype=np.int32)
    latent, noise = rng.standard_normal((2, 1, width), np.float32)
    latent = jax.device_put(latent)  # the engine keeps latents on the device too

    def propose(steps: int) -> Any:
        out = functions.propose(params, state, latent, noise, flow_steps=steps)
        return jax.block_until_ready(out)

    def prefill() -> Any:
        return jax.block_until_ready(functions.read_text(params, state, tokens))

    found = {f"prefill {PREFILL}": median_ms(prefill, repeats)}
    found["step"] = median_ms(lambda: propose(1), repeats)
    if engine.config.flow_lm.flow.type == "lsd":
        found["head"] = median_difference_ms(lambda: propose(1), lambda: propose(4), repeats) / 3
    for frames in FRAMES:
        decoder, latents = engine.decoder(), rng.standard_normal((frames, width), np.float32)
        found[f"mimi {frames}"] = median_ms(lambda d=decoder, x=latents: d.decode(x), repeats)
    return found


def random_state(config: "Config", rng: np.random.Generator) -> "FlowLMState":
    """FlowLM's caches of `POSITIONS` slots with random numbers, `POSITION` of them in use."""
    import jax
    import jax.numpy as jnp

    from pocket_tts_jax.model import flow_lm

    state = flow_lm.init_state(config.flow_lm, 1, POSITIONS)
    layers = jax.tree.map(
        lambda slots: jnp.asarray(rng.standard_normal(slots.shape, np.float32)), state.layers
    )
    return flow_lm.FlowLMState(layers, jnp.full_like(state.position, POSITION))


if __name__ == "__main__":
    main()
