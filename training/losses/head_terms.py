"""The terms that train the head, which turns noise into a latent: see `training.losses.flow_lm`.

Each term is a mean over the audio positions, from the hidden states there, the target latents and
a weight that is zero on padding.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pocket_tts_jax.model.flow_lm import FlowLM

DRAWS = 4  # samples a position, for the energy score


def one_step(model: FlowLM, variables: Any, hidden: Array, noise: Array) -> Array:
    """The latent that the head makes of the noise in one step."""
    output = _velocity(model, variables, hidden, noise, *_times(model, noise, 0.0, 1.0))
    return output if model.config.flow.type == "drifting" else noise + output


def map_term(
    model: FlowLM, variables: Any, hidden: Array, target: Array, weight: Array, key: Array
) -> Array:
    sigma_key, noise_key = jax.random.split(key)
    sigma = jnp.square(jax.random.uniform(sigma_key, (*target.shape[:2], 1)))
    noise = sigma * jax.random.normal(noise_key, target.shape)
    return _mean(jnp.square(one_step(model, variables, hidden, noise) - target), weight)


def energy_term(
    model: FlowLM, variables: Any, hidden: Array, target: Array, weight: Array, key: Array
) -> Array:
    noise = jax.random.normal(key, (DRAWS, *target.shape))
    samples = jax.vmap(lambda draw: one_step(model, variables, hidden, draw))(noise)
    return _mean(energy_score(samples, target)[..., None], weight)


def energy_score(
    samples: Float[Array, "m *b z"], target: Float[Array, "*b z"]
) -> Float[Array, "*b"]:
    """E‖X − z‖ − ½ E‖X − X'‖ without bias, norms divided by √z. It is strictly proper: only the
    targets' own distribution has the lowest expectation (Gneiting and Raftery 2007,
    https://doi.org/10.1198/016214506000001437)."""
    m = len(samples)
    spread = _distance(samples[:, None], samples[None]).sum((0, 1)) / (m * (m - 1))
    return _distance(samples, target).mean(0) - spread / 2


def _distance(a: Array, b: Array) -> Array:
    # The root has no gradient at zero, where a sample meets itself.
    return jnp.sqrt(jnp.square(a - b).mean(-1) + 1e-12)


def flow_term(
    model: FlowLM, variables: Any, hidden: Array, target: Array, weight: Array, key: Array
) -> Array:
    """On every fourth position: the head is a good part of the cost of a step."""
    hidden, target, weight = hidden[:, ::4], target[:, ::4], weight[:, ::4]
    time_key, noise_key = jax.random.split(key)
    t = jax.nn.sigmoid(0.4 + jax.random.normal(time_key, (*target.shape[:2], 1)))
    noise = jax.random.normal(noise_key, target.shape)
    v = _velocity(
        model, variables, hidden, (1 - t) * noise + t * target, *_times(model, target, t, t)
    )
    return _mean(jnp.square(v - (target - noise)), weight)


def distill_term(
    model: FlowLM, variables: Any, hidden: Array, target: Array, weight: Array, key: Array
) -> Array:
    """On every eighth position; needs an `lsd` head."""
    hidden, target, weight = hidden[:, ::8], target[:, ::8], weight[:, ::8]
    time_key, noise_key = jax.random.split(key)
    times = jnp.sort(jax.random.uniform(time_key, (*target.shape[:2], 2)), axis=-1)
    s, t = times[..., :1], times[..., 1:]
    noise = jax.random.normal(noise_key, target.shape)
    start = (1 - s) * noise + s * target

    def travel(t: Array) -> Array:
        return start + (t - s) * _velocity(model, variables, hidden, start, s, t)

    there, speed = jax.jvp(travel, (t,), (jnp.ones_like(t),))
    there, fixed = jax.lax.stop_gradient((there, hidden))
    wanted = jax.lax.stop_gradient(_velocity(model, variables, fixed, there, t, t))
    return _mean(jnp.square(speed - wanted), weight)


def _velocity(model: FlowLM, variables: Any, hidden: Array, x: Array, *times: Array) -> Array:
    def head(m: FlowLM, h: Array, y: Array, t: tuple) -> Array:
        return m.flow_net(h, y, t)

    return model.apply(variables, hidden, x, times, method=head)  # pyright: ignore


def _times(model: FlowLM, like: Array, s: Array | float, t: Array | float) -> tuple[Array, ...]:
    """(s, t) as the head of this flow type takes them; each [b, a, 1]."""
    full = [jnp.broadcast_to(jnp.asarray(x, jnp.float32), (*like.shape[:-1], 1)) for x in (s, t)]
    return tuple(full[: model.config.flow.time_conditions])


def _mean(error: Float[Array, "b a z"], weight: Float[Array, "b a"]) -> Array:
    return (error.mean(-1) * weight).sum() / weight.sum()
