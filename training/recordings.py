"""Fine-tuning data: a folder of recordings with their transcripts, as FlowLM examples.

`NAME.wav` (or .flac, .ogg, .mp3) goes with `NAME.txt`. The checkpoint's own Mimi encoder makes the
latents, so the checkpoint must be one with voice cloning (its encoder is real).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from pocket_tts_jax.checkpoint import parameter_tree
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import AudioError, TextError
from pocket_tts_jax.mimi import Mimi, init_encoder_state
from pocket_tts_jax.tokenizer import Tokenizer
from training.initialise import select
from training.lm_data import Batch, Bucket, Example, collate

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
SILENCE = 4  # frames behind each recording
MAX_SECONDS = 20.0


def find_recordings(folder: Path) -> list[tuple[Path, str]]:
    """(audio file, text) pairs; TextError names the recordings that lack a transcript."""
    audio = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    missing = [path.name for path in audio if not path.with_suffix(".txt").exists()]
    if missing or not audio:
        what = f"no .txt beside {', '.join(missing[:5])}" if missing else "no recordings"
        raise TextError(f"{folder} has {what}. Put NAME.wav and NAME.txt side by side there.")
    return [(path, path.with_suffix(".txt").read_text("utf-8").strip()) for path in audio]


def read_mono(path: Path, rate: int) -> Float[np.ndarray, " n"]:
    """Samples at `rate`, channels averaged. AudioError for what is too long to learn from."""
    audio, found = soundfile.read(path, dtype="float32", always_2d=True)
    if len(audio) / found > MAX_SECONDS:
        raise AudioError(
            f"{path} lasts {len(audio) / found:.0f} s; cut it into sentences of at most "
            f"{MAX_SECONDS:.0f} s."
        )
    return soxr.resample(audio.mean(1), found, rate)


def encode_recordings(
    folder: Path, config: Config, tensors: Mapping[str, np.ndarray], tokenizer: Tokenizer
) -> Iterator[Example]:
    """One example per recording, its latents normalised with the checkpoint's statistics."""
    mimi = Mimi(config.mimi)
    variables = {"params": parameter_tree(select(tensors, "mimi."))}
    frame, state = config.mimi.frame_size, init_encoder_state(config.mimi, 1)
    encode = jax.jit(lambda v, audio: mimi.apply(v, state, audio, method="encode_step"))
    mean, std = tensors["flow_lm.emb_mean"], tensors["flow_lm.emb_std"]
    for path, text in find_recordings(folder):
        audio = read_mono(path, config.mimi.sample_rate)
        speech = -(-len(audio) // frame)
        # Rounded up so that few lengths are compiled; the encoder is causal.
        length = (speech + SILENCE + 15) // 16 * 16 * frame
        latents, _ = encode(variables, np.pad(audio, (0, length - len(audio)))[None])
        latents = (np.asarray(latents)[0, : speech + SILENCE] - mean) / std
        tokens = np.asarray(tokenizer.encode(text), np.int32)
        yield Example(text, tokens, latents.astype(np.float32), speech, None)


class RecordingBatches:
    """Random batches of one shape that fits every example."""

    def __init__(self, examples: list[Example], rows: int) -> None:
        positions = max(1 + len(e.tokens) + len(e.latents) for e in examples)
        self.examples, self.rows = examples, rows
        self.bucket = Bucket(positions, max(len(e.latents) for e in examples), rows)

    def batch(self, seed: int, step: int) -> Batch:
        draw = np.random.default_rng([seed, step])
        chosen = draw.integers(0, len(self.examples), self.rows)
        return collate([self.examples[i] for i in chosen], self.bucket)
