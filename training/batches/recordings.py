"""Fine-tuning data: a folder of recordings with their transcripts, as FlowLM examples.

`NAME.wav` (or .flac, .ogg, .mp3) goes with `NAME.txt`. The checkpoint's own Mimi encoder makes the
latents, so the checkpoint must be one with voice cloning (its encoder is real).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pocket_tts_jax.audio.read import read_audio, resample
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import AudioError, TextError
from pocket_tts_jax.text.prepare import TextRules, make_prompt
from pocket_tts_jax.text.tokenizer import Tokenizer
from pocket_tts_jax.weights.expected import under
from training.batches.encoder import Encoder
from training.batches.examples import Batch, Bucket, Example, collate

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
SILENCE = 4  # frames behind each recording
MAX_SECONDS = 20.0


def find_recordings(folder: Path) -> list[tuple[Path, Path]]:
    """(audio file, transcript) pairs; TextError names the recordings that lack a transcript."""
    audio = sorted(folder.iterdir()) if folder.is_dir() else []
    audio = [path for path in audio if path.suffix.lower() in SUFFIXES]
    missing = [path.name for path in audio if not path.with_suffix(".txt").is_file()]
    if missing or not audio:
        what = f"no .txt beside {', '.join(missing[:5])}" if missing else "no recordings"
        raise TextError(f"{folder} has {what}. Put NAME.wav and NAME.txt side by side there.")
    return [(path, path.with_suffix(".txt")) for path in audio]


def read_speech(path: Path, rate: int) -> Float[np.ndarray, " n"]:
    """Samples at `rate`. AudioError for what is unreadable, or too long to learn from."""
    audio, found = read_audio(path)
    if len(audio) / found > MAX_SECONDS:
        raise AudioError(
            f"{path} lasts {len(audio) / found:.0f} s; cut it into sentences of at most "
            f"{MAX_SECONDS:.0f} s."
        )
    return resample(audio, found, rate)


def read_tokens(path: Path, config: Config, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The transcript as the model is fed it at run time."""
    try:
        text = path.read_text("utf-8-sig")
        return make_prompt(text, tokenizer, TextRules.from_config(config)).ids
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from error
    except TextError as error:
        raise TextError(f"{path}: {error}") from error


def encode_recordings(
    folder: Path, config: Config, tensors: Mapping[str, np.ndarray], tokenizer: Tokenizer
) -> Iterator[Example]:
    """One example per recording, its latents normalised with the checkpoint's statistics."""
    encode, frame = Encoder(config, under(tensors, "mimi.")), config.mimi.frame_size
    mean, std = tensors["flow_lm.emb_mean"], tensors["flow_lm.emb_std"]
    for path, transcript in find_recordings(folder):
        tokens = np.asarray(read_tokens(transcript, config, tokenizer), np.int32)
        audio = read_speech(path, config.mimi.sample_rate)
        speech = -(-len(audio) // frame)
        audio = np.pad(audio, (0, (speech + SILENCE) * frame - len(audio)))
        latents = (encode(audio) - mean) / std
        yield Example(path.stem, tokens, latents.astype(np.float32), speech, None)


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
