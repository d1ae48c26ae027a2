"""Word times of random models in every published configuration: they cover the text, whatever the
attention is. Of the layers two are enough. That a step's attention is the same in LiteRT is what
the exporter's gate checks of every export."""

from dataclasses import replace

import numpy as np
import pytest

from pocket_tts_jax.alignment.timer import WordTimer
from pocket_tts_jax.config import available_configs, load_config, packaged_config
from pocket_tts_jax.jax_engine.engine import JaxEngine
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.testing.tiny_model import TOKENIZER, tiny_voice, write_model
from pocket_tts_jax.text.pipeline import TextOptions, iter_prompts
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.text.tokenizer import SentencePieceTokenizer
from pocket_tts_jax.text.words import word_spans
from pocket_tts_jax.weights.alignment import alignment_of
from pocket_tts_jax.weights.source import open_source

TEXT = (
    "“It was 3 pm,” she said — the cat had 12 well-known (and 2 unknown) friends. Then it rained."
)
FRAMES = 10


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return open_source(model=write_model(tmp_path_factory.mktemp("m") / "tiny"))


@pytest.mark.slow
@pytest.mark.parametrize("name", available_configs())
def test_words_cover_the_text(name, tiny, monkeypatch):
    monkeypatch.setattr(JaxEngine, "_warm_decoder", lambda self: None)  # nothing is decoded here
    config = load_config(packaged_config(name))
    transformer = replace(config.flow_lm.transformer, num_layers=2)
    config = replace(config, flow_lm=replace(config.flow_lm, transformer=transformer))
    source = replace(tiny, name=name, config=config)
    engine = JaxEngine(config, random_tensors(config), alignment_of(config))
    voice, draw = tiny_voice(config), np.random.default_rng(0)
    mimi, told = config.mimi, []
    timer = WordTimer(mimi.sample_rate, told.append)
    items = iter_prompts(
        *(TEXT, SentencePieceTokenizer(TOKENIZER), source, TextOptions(normalize=True), 30),
        words=True,
    )
    prompts = [item for item in items if isinstance(item, Prompt)]
    for chunk, prompt in enumerate(prompts):
        latents = engine.start(voice, prompt, 1)
        timer.begin(chunk, prompt.words, len(prompt.ids))
        for _ in range(FRAMES):
            step = latents.step(draw.standard_normal(config.latent_dim).astype(np.float32))
            assert step.attention.shape == (len(engine.alignment.heads), len(prompt.ids))
            assert np.isfinite(step.attention).all()
            assert (step.attention >= 0).all() and (step.attention.sum(1) <= 1.0001).all()
            timer.hear(draw.standard_normal(mimi.frame_size).astype(np.float32), step.attention)
        timer.end()
    assert len(prompts) > 1
    assert [(w.first_character, w.last_character) for w in told] == word_spans(TEXT)
    seconds = len(prompts) * FRAMES * mimi.frame_size / mimi.sample_rate
    edges = [edge for word in told for edge in (word.start, word.end)]
    assert edges == sorted(edges) and edges[-1] <= seconds
