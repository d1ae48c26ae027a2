"""Fine-tuning data: a folder of recordings with their transcripts, as FlowLM examples.

`NAME.wav` (or .flac, .ogg, .mp3) goes with `NAME.txt`. Latents come from the encoder of the model,
where that is trained, or from the mel codec that the model has learned from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from safetensors.numpy import load_file

from pocket_tts_jax.audio.read import read_audio, resample
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import AudioError, TextError
from pocket_tts_jax.text.prepare import TextRules, make_prompt
from pocket_tts_jax.text.tokenizer import Tokenizer
from pocket_tts_jax.weights.expected import under
from training.batches.encoder import Encoder
from training.batches.examples import Batch, Bucket, Example, collate, declared_end
from training.batches.mel_codec import encode_mels
from training.command_line import with_progress
from training.data.spectra import FRAME, log_mel
from training.data.streams import LATENT_DIM
from training.errors import TrainingError
from training.loop.checkpoint import read_statistics


class Codec(NamedTuple):
    """Speech to latents, and the statistics that normalise them."""

    encode: Callable[[Float[np.ndarray, " samples"]], Float[np.ndarray, "n z"]]
    mean: Float[np.ndarray, " z"]
    std: Float[np.ndarray, " z"]


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


def read_transcript(
    path: Path, config: Config, tokenizer: Tokenizer
) -> tuple[str, Int[np.ndarray, " n"]]:
    """The text, and its tokens as the model is fed them at run time."""
    try:
        text = path.read_text("utf-8-sig").strip()
        ids = make_prompt(text, tokenizer, TextRules.from_config(config)).ids
        return text, np.asarray(ids, np.int32)
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from error
    except TextError as error:
        raise TextError(f"{path}: {error}") from error


def encode_recordings(
    folder: Path, config: Config, tokenizer: Tokenizer, codec: Codec
) -> Iterator[Example]:
    """One example per recording, in the order of their names, with normalised latents."""
    frame = config.mimi.frame_size
    for path, transcript in with_progress(find_recordings(folder), "encoded"):
        text, tokens = read_transcript(transcript, config, tokenizer)
        audio = read_speech(path, config.mimi.sample_rate)
        speech = -(-len(audio) // frame)
        audio = np.pad(audio, (0, (speech + SILENCE) * frame - len(audio)))
        latents = (codec.encode(audio) - codec.mean) / codec.std
        # As early as in training, so that tuning does not move the end that a model knows.
        yield Example(text, tokens, latents.astype(np.float32), declared_end(speech), None)


def own_codec(config: Config, tensors: Mapping[str, np.ndarray]) -> Codec:
    """The encoder of the model itself, with the statistics that its FlowLM works with."""
    encode = Encoder(config, under(tensors, "mimi."))
    return Codec(encode, tensors["flow_lm.emb_mean"], tensors["flow_lm.emb_std"])


def mel_codec(config: Config, path: Path) -> Codec:
    """What `training.mel_codec` wrote. Its own statistics: those of an export may be wider
    (`training.spread`), for what is spoken and not for what was heard."""
    if (config.mimi.frame_size, config.latent_dim) != (FRAME, LATENT_DIM):
        raise TrainingError(
            f"A mel codec makes {LATENT_DIM} numbers for {FRAME} samples, this model works with "
            f"{config.latent_dim} for {config.mimi.frame_size}. Leave --codec out."
        )
    mean, std = read_statistics(path)
    tensors = load_file(path)
    return Codec(lambda audio: encode_mels(tensors, log_mel(audio)), mean, std)


def hold_out(examples: list[Example], count: int | None) -> tuple[list[Example], list[Example]]:
    """(to train on, held out): `count` evenly spread examples, by default a tenth, 1 to 20."""
    if count is None:
        count = min(20, max(1, len(examples) // 10))
    if count >= len(examples):
        raise TrainingError(
            f"Of {len(examples)} recordings {count} would be held out to judge by, which leaves "
            "none to train on. Add recordings, or give --held-out 0 to judge by nothing."
        )
    chosen = set(np.linspace(0, len(examples) - 1, count, dtype=int).tolist())
    kept = [example for i, example in enumerate(examples) if i not in chosen]
    return kept, [examples[i] for i in sorted(chosen)]


class RecordingBatches:
    """Random batches of one shape that fits every example."""

    def __init__(self, examples: list[Example], rows: int) -> None:
        self.examples, self.rows = examples, rows
        self.bucket = common_bucket(examples, rows)

    def batch(self, seed: int, step: int) -> Batch:
        draw = np.random.default_rng([seed, step])
        chosen = draw.integers(0, len(self.examples), self.rows)
        return collate([self.examples[i] for i in chosen], self.bucket)


def common_bucket(examples: Sequence[Example], rows: int) -> Bucket:
    positions = max(1 + len(e.tokens) + len(e.latents) for e in examples)
    return Bucket(positions, max(len(e.latents) for e in examples), rows)
