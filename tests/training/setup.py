"""A tiny model and made-up data for the training tests: seconds, not hours."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pocket_tts_jax.config import Config, load_config, packaged_config
from training.batches.examples import Batch, Bucket, Example, collate
from training.data.phonemes import read_dictionary
from training.tokens import reading_tokenizer

FRAMES = 10


def tiny_config() -> Config:
    """The shape of a small published model, with an `lsd` head and everything narrow."""
    config = load_config(packaged_config("english_2m_2026-10"))
    lm = config.flow_lm
    transformer = dataclasses.replace(
        lm.transformer,
        d_model=32,
        num_heads=2,
        num_kv_heads=None,
        attn_dim=None,
        num_layers=3,
        dim_feedforward=64,
    )
    table = dataclasses.replace(lm.lookup_table, dim=32, n_bins=30, rank=None)
    flow = dataclasses.replace(lm.flow, type="lsd", dim=32, depth=2)
    lm = dataclasses.replace(lm, transformer=transformer, lookup_table=table, flow=flow, z_dim=None)
    mimi = config.mimi
    seanet = dataclasses.replace(mimi.seanet, dimension=16, n_filters=2)
    encoder = dataclasses.replace(
        mimi.transformer,
        d_model=16,
        num_heads=2,
        num_layers=1,
        dim_feedforward=32,
        input_dimension=16,
        output_dimensions=(16,),
    )
    decoder = dataclasses.replace(encoder, context=50, layer_scale=0.1)
    mimi = dataclasses.replace(
        mimi,
        seanet=seanet,
        transformer=encoder,
        decoder_seanet=dataclasses.replace(seanet, n_filters=4),
        decoder_transformer=decoder,
        outer_dim=16,
        quantizer=dataclasses.replace(mimi.quantizer, output_dimension=16),
    )
    return dataclasses.replace(config, flow_lm=lm, mimi=mimi)


def synthetic_examples(count: int, seed: int = 0) -> list[Example]:
    """Each token is "spoken" for two frames, as a fixed latent of its own."""
    draw = np.random.default_rng(seed)
    sounds = np.random.default_rng(7).standard_normal((31, 32)).astype(np.float32)
    examples = []
    for _ in range(count):
        tokens = draw.integers(1, 30, FRAMES // 2).astype(np.int32)
        latents = np.repeat(sounds[tokens], 2, axis=0)
        first = np.arange(FRAMES) // 2
        words = np.stack([first, first + 1, first, first + 1], axis=1).astype(np.int32)
        examples.append(Example("", tokens, latents, FRAMES - 2, words))
    return examples


def synthetic_batch(step: int, rows: int = 8) -> Batch:
    return collate(
        synthetic_examples(rows, seed=step), Bucket(1 + FRAMES // 2 + FRAMES, FRAMES, rows)
    )


def write_folder(path: Path) -> Path:
    """A folder of short recordings with transcripts."""
    import soundfile

    path.mkdir()
    for i, text in enumerate(("One two.", "Three four five.")):
        time = np.arange(12_000) / 24_000
        soundfile.write(path / f"{i}.wav", 0.3 * np.sin(2 * np.pi * 220 * (i + 1) * time), 24_000)
        (path / f"{i}.txt").write_text(text)
    return path


DICTIONARY = """;;; a comment
HELLO  HH AH0 L OW1
HELLO(1)  HH EH0 L OW1
BETTER  B EH1 T ER0
THE  DH AH1
BOAT  B OW1 T
A  AH0
OF  AH1 V
ONE  W AH1 N
B  B IY1
"""


def phoneme_tokenizer(path: Path) -> Any:
    """A tokenizer that reads a few words by their sounds; SentencePiece's own object."""
    import sentencepiece

    reading_tokenizer(read_dictionary(DICTIONARY.splitlines()), path)
    return sentencepiece.SentencePieceProcessor(model_file=str(path))
