"""The terms of FlowLM's objective, by number."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pocket_tts_jax.config import Config, FlowType
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.model.flow_lm import FlowLM
from pocket_tts_jax.weights.checkpoint import parameter_tree
from pocket_tts_jax.weights.expected import under
from tests.training.setup import synthetic_batch, tiny_config
from training.batches.examples import Batch
from training.finetune import OBJECTIVES, make_loss
from training.loop.initialise import initial_tensors
from training.losses.flow_lm import LMObjective, lm_loss, predict_means
from training.losses.head_terms import distill_term, energy_score

pytestmark = pytest.mark.slow  # compiles training steps

CONFIG = tiny_config()
QUIET = LMObjective(align=0.0, history_noise=(0.0, 0.0), history_dropout=0.0)
KEY = jax.random.key(0)


def with_head(kind: FlowType) -> Config:
    flow = dataclasses.replace(CONFIG.flow_lm.flow, type=kind)
    return dataclasses.replace(CONFIG, flow_lm=dataclasses.replace(CONFIG.flow_lm, flow=flow))


def flow_lm(config: Config = CONFIG) -> dict:
    tensors = under(initial_tensors(config), "flow_lm.")
    return {name: jnp.asarray(tensor) for name, tensor in tensors.items()}


def test_energy_score_is_lowest_for_samples_of_the_right_spread():
    draws, targets = jax.random.normal(KEY, (5, 4000, 8))[:4], jax.random.normal(KEY, (4000, 8)) + 1
    score = {s: float(energy_score(1 + s * draws, targets).mean()) for s in (0.0, 0.5, 1.0, 2.0)}
    assert score[1.0] < min(score[0.5], score[2.0]) and score[0.5] < score[0.0]


def test_energy_score_by_hand():
    samples, target = jnp.array([[[0.0, 0.0]], [[3.0, 4.0]]]), jnp.array([[0.0, 0.0]])
    # The distances to the target are 0 and 5, that of the samples is 5; in units of √2.
    np.testing.assert_allclose(energy_score(samples, target), [0 / 2**0.5], atol=1e-5)
    np.testing.assert_allclose(energy_score(samples, -samples[1]), [5 / 2**0.5], rtol=1e-5)
    gradient = jax.grad(lambda x: energy_score(x, target).sum())(jnp.zeros((2, 1, 2)))
    assert np.isfinite(gradient).all()


def test_distillation_compares_the_speed_of_the_map_with_the_flow_where_it_arrives():
    """The speed is recomputed here as a difference quotient."""
    draw = np.random.default_rng(0)
    model, params = FlowLM.of(CONFIG), flow_lm()
    params |= {  # a head whose output is not nearly zero
        n: t * 10 for n, t in params.items() if "adaLN_modulation" in n or "final_layer" in n
    }
    variables = {"params": parameter_tree(params)}
    width = params["flow_net.cond_embed.weight"].shape[1]
    hidden = jnp.asarray(draw.standard_normal((2, 8, width), np.float32))
    target = jnp.asarray(draw.standard_normal((2, 8, 32), np.float32))
    term = jax.jit(lambda: distill_term(model, variables, hidden, target, jnp.ones((2, 8)), KEY))
    found = term()

    hidden, target = hidden[:, ::8], target[:, ::8]
    time_key, noise_key = jax.random.split(KEY)
    times = jnp.sort(jax.random.uniform(time_key, (2, 1, 2)), axis=-1)
    s, t = times[..., :1], times[..., 1:]
    start = (1 - s) * jax.random.normal(noise_key, target.shape) + s * target

    def head(module, hidden, x, times):
        return module.flow_net(hidden, x, times)

    @jax.jit
    def velocity(x, s, t):
        return model.apply(variables, hidden, x, (s, t), method=head)

    def there(t):
        return start + (t - s) * velocity(start, s, t)

    step = 5e-3
    speed = (there(t + step) - there(t - step)) / (2 * step)
    wanted = jnp.square(speed - velocity(there(t), t, t)).mean()
    np.testing.assert_allclose(found, wanted, rtol=2e-3)
    assert float(found) > 1e-3


def scored(objective: LMObjective, batch: Batch) -> tuple[float, dict[str, float]]:
    total, terms = jax.jit(lambda p: lm_loss(p, batch, KEY, CONFIG, objective))(flow_lm())
    return float(total), {n: float(t) for n, t in terms._asdict().items() if t is not None}


def test_weights_add_up():
    batch = synthetic_batch(0)
    plain, terms = scored(LMObjective(align=0.0), batch)
    assert terms.keys() == {"map", "flow", "eos"}
    wanted = terms["map"] + 0.25 * terms["flow"] + 0.1 * terms["eos"]
    np.testing.assert_allclose(plain, wanted, rtol=1e-5)
    more, others = scored(LMObjective(align=0.0, distill=0.25), batch)
    np.testing.assert_allclose(more, plain + 0.25 * others["distill"], rtol=1e-5)
    assert others["distill"] > 0


def test_own_history_is_what_the_model_predicts():
    params, batch = flow_lm(), synthetic_batch(0)
    own = scored(dataclasses.replace(QUIET, own_history=1.0), batch)[1]["eos"]
    model, variables = FlowLM.of(CONFIG), {"params": parameter_tree(params)}
    said = jax.jit(lambda: predict_means(model, variables, params, batch, KEY, QUIET))()
    same = scored(QUIET, batch._replace(latents=np.asarray(said)))[1]["eos"]
    true = scored(QUIET, batch)[1]["eos"]
    np.testing.assert_allclose(own, same, rtol=1e-5)
    assert abs(own - true) > 1e-4


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_tuning_never_asks_a_head_for_the_mean(kind):
    config = with_head(kind)
    loss = make_loss(config, lambda tensors: (dict(tensors), None))
    slope = jax.jit(jax.grad(loss, has_aux=True))
    gradient, terms = slope(flow_lm(config), synthetic_batch(0), KEY)
    used = {name for name, term in terms._asdict().items() if term is not None}
    wanted = {"lsd": {"flow", "distill"}, "flow_matching": {"flow"}}.get(kind, {"energy"})
    assert used == wanted | {"eos"}
    assert all(np.isfinite(g).all() for g in gradient.values())
    assert float(jnp.abs(gradient["flow_net.input_proj.weight"]).max()) > 0


@pytest.mark.parametrize(
    ("config", "objective", "message"),
    [
        (with_head("drifting"), LMObjective(), "set flow to 0"),
        (with_head("flow_matching"), LMObjective(distill=0.1), "Only an lsd head"),
        (
            dataclasses.replace(
                CONFIG,
                flow_lm=dataclasses.replace(CONFIG.flow_lm, insert_bos_before_voice=False),
            ),
            LMObjective(),
            "no start token",
        ),
    ],
)
def test_what_a_model_cannot_learn_is_refused(config, objective, message):
    with pytest.raises(ConfigError, match=message):
        lm_loss(flow_lm(config), synthetic_batch(0), KEY, config, objective)
