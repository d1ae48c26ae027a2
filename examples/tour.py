# ruff: noqa: E402

# %% [markdown]
# # A tour of pocket_tts_jax
#
# Streaming, the caches, `jit`, `vmap` and `scan` on the functions underneath, an export to LiteRT,
# and both engines side by side. Runs on a CPU, without network. Where the package has its voice,
# the first part speaks with it. The rest uses a model of a few thousand random parameters: it is
# fast, and does not make words.

# %%
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

ROOT = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "pocket_tts_jax").is_dir())
sys.path.insert(0, str(ROOT))

from pocket_tts_jax import TTSModel
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.weights.source import EMBEDDED, WEIGHTS

work = Path(tempfile.mkdtemp())
tiny_folder = write_model(work / "tiny")

# %% [markdown]
# ## Streaming
#
# A generator yields frames of 80 ms (1920 samples) as soon as they are made. The same seed gives
# the same samples; `generate_audio` returns the whole.

# %%
has_voice = (EMBEDDED / WEIGHTS).is_file()
model = TTSModel.load_model() if has_voice else TTSModel.load_model(model=tiny_folder)
voice = model.get_state_for_audio_prompt(model.default_voice())
text = "The train was late again, so we walked home."


def listen(model, voice, text):
    """The frames, and when each arrived, in ms."""
    start, frames, arrivals = time.perf_counter(), [], []
    for frame in model.generate_audio_stream(voice, text, seed=7):
        frames.append(frame)
        arrivals.append((time.perf_counter() - start) * 1e3)
    return np.concatenate(frames), np.array(arrivals)


listen(model, voice, text)  # compiles, once per machine
audio, arrivals = listen(model, voice, text)
whole = model.generate_audio(voice, text, seed=7)
assert np.array_equal(audio, whole)

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
left.plot(np.arange(audio.size) / model.sample_rate, audio, linewidth=0.4)
left.set(xlabel="s", title="samples")
right.step(np.arange(arrivals.size) * 80, arrivals, where="post")
right.plot([0, arrivals.size * 80], [0, arrivals.size * 80], "k:", label="real time")
right.set(xlabel="audio, ms", ylabel="arrived after, ms", title="frames")
right.legend()
plt.show()

# %% [markdown]
# ## The caches
#
# FlowLM's state is a pytree: keys and values per layer, and the position of the next input. A
# voice is the part of it that a recording fills. `step` takes the previous latent and the noise,
# and returns the next latent and the logit of "speech ends here".

# %%
tiny = TTSModel.load_model(model=tiny_folder)
engine = tiny.engine
config, params = tiny.config, {"params": engine.flow_lm_params}
voice = tiny.get_state_for_audio_prompt("tiny")

from pocket_tts_jax.jax_engine.states import voice_state
from pocket_tts_jax.model.flow_lm import FlowLM

flow_lm = FlowLM.of(config)
prompt = next(iter(tiny.prompts("Hello.")))
tokens = jnp.asarray([prompt.ids])
state = voice_state(voice, capacity=64)
embeddings = flow_lm.apply(params, tokens, method="embed_text")
state = flow_lm.apply(params, state, embeddings, jnp.array([tokens.shape[1]]), method="prefill")
print("voice", voice.length, "+ text", tokens.shape[1], "= position", int(state.position[0]))
print(jax.tree.map(lambda leaf: leaf.shape, state))

bos = engine.flow_lm_params["bos_emb"][None]
noise = 0.5 * jax.random.normal(jax.random.key(0), (24, 1, config.latent_dim))
output, after = flow_lm.apply(params, state, bos, noise[0], method="step")
print("latent", output.latent.shape, "EOS logit", float(output.eos_logit[0]))
assert int(after.position[0]) == int(state.position[0]) + 1

written = np.abs(np.asarray(after.layers[0].k[0])).max(axis=-1) > 0
plt.figure(figsize=(9, 1.5))
plt.imshow(written, aspect="auto", cmap="Greys")
plt.xlabel("slot")
plt.ylabel("head")
plt.title("slots of the first layer's keys in use: voice, text, one frame")
plt.show()

# %% [markdown]
# ## `jit`, `scan`, `vmap`
#
# `step` is an ordinary function of arrays. `scan` runs a whole utterance in one call;
# `vmap` over the noise speaks the same text in several ways at once.


# %%
def speak(noise):
    """Latents [frames, z] and EOS logits [frames] for noise [frames, 1, z]."""

    def frame(carry, draw):
        state, latent = carry
        output, state = flow_lm.apply(params, state, latent, draw, method="step")
        return (state, output.latent), (output.latent[0], output.eos_logit[0])

    return jax.lax.scan(frame, (state, bos), noise)[1]


latents, logits = jax.jit(speak)(noise)

stepwise, loop_state = bos, state
for draw in noise[:3]:
    output, loop_state = flow_lm.apply(params, loop_state, stepwise, draw, method="step")
    stepwise = output.latent
assert np.allclose(latents[2], stepwise[0], atol=1e-4)

variants = 0.5 * jax.random.normal(jax.random.key(1), (4, *noise.shape))
many, many_logits = jax.jit(jax.vmap(speak))(variants)
print("scan", latents.shape, "vmap", many.shape)

plt.figure(figsize=(8, 2.5))
plt.plot(many_logits.T)
plt.axhline(tiny.eos_threshold, color="k", linestyle=":", label="speech ends above")
plt.xlabel("frame")
plt.ylabel("EOS logit")
plt.legend()
plt.show()

# %% [markdown]
# So are gradients: here, the effect of each frame's noise on the end of speech.

# %%
slope = jax.jit(jax.grad(lambda n: speak(n)[1][-1]))(noise)
assert np.isfinite(slope).all()
print("sensitivity of the last logit to the noise of each frame:")
print(np.abs(np.asarray(slope)).sum(axis=(1, 2)).round(5))

# %% [markdown]
# ## From latents to samples
#
# The decoder is a step function too. One frame per call or all at once: the samples are the same.

# %%
from pocket_tts_jax.model import mimi

codec = mimi.Mimi(config.mimi)
raw = flow_lm.apply(params, latents[None], method="denormalise")
decode = jax.jit(
    lambda s, x: codec.apply({"params": engine.mimi_params}, s, x, method="decode_step")
)

at_once, _ = decode(mimi.init_decoder_state(config.mimi, 1), raw)
codec_state, pieces = mimi.init_decoder_state(config.mimi, 1), []
for i in range(raw.shape[1]):
    piece, codec_state = decode(codec_state, raw[:, i : i + 1])
    pieces.append(piece[0])
difference = np.abs(np.concatenate(pieces) - np.asarray(at_once[0])).max()
print("largest difference", difference)
assert difference < 1e-4

# %% [markdown]
# ## An export, and both engines
#
# The exporter turns the same step functions into `.tflite` files and compares them with JAX before
# the folder appears. The LiteRT engine needs NumPy and LiteRT alone.

# %%
from exporters.build import Options
from exporters.tflite import export

failed = export(str(tiny_folder), work / "exported", Options(precision="fp32"))
assert not failed
for path in sorted((work / "exported").rglob("*")):
    if path.is_file():
        print(f"{path.stat().st_size:>9}  {path.relative_to(work / 'exported')}")

# %%
lite = TTSModel.load_model(model=work / "exported", compilation_cache=False)
sources = {"JAX": (tiny, voice), "LiteRT": (lite, lite.get_state_for_audio_prompt("tiny"))}
heard, times = {}, {}
for name, (engine_model, engine_voice) in sources.items():
    listen(engine_model, engine_voice, text)
    heard[name], times[name] = listen(engine_model, engine_voice, text)

length = min(samples.size for samples in heard.values())
correlation = np.corrcoef(heard["JAX"][:length], heard["LiteRT"][:length])[0, 1]
print(f"correlation of the two engines' samples: {correlation:.6f}")
assert heard["JAX"].size == heard["LiteRT"].size and correlation > 0.999

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
for name, arrivals in times.items():
    left.step(np.arange(arrivals.size), arrivals, where="post", label=name)
    right.plot(heard[name][4000:4400], label=name, alpha=0.7)
left.set(xlabel="frame", ylabel="arrived after, ms")
right.set(xlabel="sample", title="the same 17 ms")
left.legend()
right.legend()
plt.show()

# %% [markdown]
# `python -m benchmarks.compare` measures full-size models beside other programs, and `python -m
# benchmarks.step` the parts of a step against the limits of the machine.
