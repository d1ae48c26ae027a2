"""Word times of random models in every published configuration, in JAX and in an export.

The models are narrow: the layers, the heads, the flow and what follows the text are those of the
configuration, the widths are the smallest. Configurations of the same structure share a model with
the heads of all of them. What an export of full width computes is compared with JAX by the
exporter's gate, when it is made.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from exporters import build
from exporters.build import Export, Options
from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.alignment.timer import WordTimer
from pocket_tts_jax.config import (
    Config,
    available_configs,
    load_config,
    packaged_config,
    parse_config,
)
from pocket_tts_jax.generation.engine import Engine
from pocket_tts_jax.jax_engine.engine import JaxEngine
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.testing.tiny_model import TOKENIZER, plain, tiny_config, tiny_voice, write_model
from pocket_tts_jax.text.pipeline import TextOptions, iter_prompts
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.text.tokenizer import SentencePieceTokenizer
from pocket_tts_jax.text.words import word_spans
from pocket_tts_jax.weights.alignment import Heads, alignment_of
from pocket_tts_jax.weights.source import ModelSource, open_source

TEXT = (
    "“It was 3 pm,” she said — the cat had 12 well-known (and 2 unknown) friends. Then it rained."
)
FRAMES, MAX_TOKENS = 10, 30
OPTIONS = Options("fp32", 128, prefill_lengths=(32,), decoder_frames=(1,), batches=())

Engines = tuple[ModelSource, list[Engine]]


@cache
def narrow(name: str) -> Config:
    """The same structure with four numbers in each head, and the tiny model's Mimi."""
    raw, tiny = plain(load_config(packaged_config(name))), plain(tiny_config())
    lm, small = raw["flow_lm"], tiny["flow_lm"]
    transformer = lm["transformer"]
    width = 4 * transformer["num_heads"]
    transformer |= {
        "d_model": width,
        "attn_dim": transformer["attn_dim"] and width,
        "dim_feedforward": transformer["dim_feedforward"] and 16,
    }
    table = {"dim": width, "rank": lm["lookup_table"]["rank"] and 8}
    lm["lookup_table"] = small["lookup_table"] | table
    lm["flow"]["dim"] = 16
    lm["z_dim"] = lm["z_dim"] and 16
    raw |= {"mimi": tiny["mimi"], "weights_path": None, "weights_path_without_voice_cloning": None}
    return parse_config(raw)


def structure(name: str) -> str:
    return json.dumps(plain(narrow(name))["flow_lm"])


def heads_of(name: str) -> Heads:
    return alignment_of(narrow(name), name).heads


def all_heads(wanted: str) -> Heads:
    """Of the configurations with one structure."""
    alike = (name for name in available_configs() if structure(name) == wanted)
    return tuple(sorted({head for name in alike for head in heads_of(name)}))


@pytest.fixture(scope="module")
def engines_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Engines]:
    """Makes the engines of a configuration, in JAX and in LiteRT."""

    @cache
    def make(wanted: str, name: str) -> Engines:
        place = tmp_path_factory.mktemp("narrow")
        heads = all_heads(wanted)
        folder = write_model(place / "model", config=narrow(name), alignment_heads=heads)
        source = open_source(model=folder)
        (place / "export").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            for part in ("validate", "write_vectors"):  # the gate and its test vectors
                patch.setattr(build, part, lambda *_: [])
            patch.setattr(JaxEngine, "_warm_decoder", lambda self: None)  # nothing is decoded
            Export(str(folder), OPTIONS, place / "export").run()
            jax = JaxEngine(source.config, source.load_tensors(), source.alignment)
        return source, [jax, LiteRTEngine(place / "export", threads=1)]

    first = {structure(name): name for name in reversed(available_configs())}
    return lambda name: make(structure(name), first[structure(name)])


def prompts_of(source: ModelSource) -> list[Prompt]:
    tokenizer, options = SentencePieceTokenizer(TOKENIZER), TextOptions(normalize=True)
    items = iter_prompts(TEXT, tokenizer, source, options, MAX_TOKENS, words=True)
    return [item for item in items if isinstance(item, Prompt)]


def speak(engine: Engine, source: ModelSource, prompts: list[Prompt]) -> list[SpokenWord]:
    """Times of all words over noise, which has no silence, by the heads of one configuration."""
    draw, told = np.random.default_rng(0), []
    mimi, heads = source.config.mimi, source.alignment.heads
    rows = [heads.index(head) for head in heads_of(source.name)]
    timer = WordTimer(mimi.sample_rate, told.append)
    for chunk, prompt in enumerate(prompts):
        latents = engine.start(tiny_voice(source.config), prompt, 1)
        timer.begin(chunk, prompt.words, len(prompt.ids))
        for _ in range(FRAMES):
            step = latents.step(draw.standard_normal(source.config.latent_dim).astype(np.float32))
            assert step.attention.shape == (len(heads), len(prompt.ids))
            assert (step.attention >= 0).all() and (step.attention.sum(1) <= 1.0001).all()
            audio = draw.standard_normal(mimi.frame_size).astype(np.float32)
            timer.hear(audio, step.attention[rows])
        timer.end()
    return told


@pytest.mark.slow
@pytest.mark.parametrize("name", available_configs())
def test_both_engines_tell_all_words(name: str, engines_of: Callable[[str], Engines]):
    shared, engines = engines_of(name)
    source = replace(shared, name=name, config=narrow(name))
    prompts = prompts_of(source)
    words, same = (speak(engine, source, prompts) for engine in engines)
    assert words == same
    assert [(w.first_character, w.last_character) for w in words] == word_spans(TEXT)
    edges = [edge for word in words for edge in (word.start, word.end)]
    frame = source.config.mimi.frame_size / source.config.mimi.sample_rate
    assert edges == sorted(edges) and edges[-1] <= len(prompts) * FRAMES * frame
    assert words[0].chunk < words[-1].chunk
