"""How far our model is from the PyTorch reference, for every published configuration.

    python -m tests.parity [--configs NAME …] [--steps N] [--recording WAV] [--json FILE]
    python -m tests.parity --published english      # Kyutai's weights, fetched once

Each configuration gets a random checkpoint of its own (`pocket_tts_jax.testing`), a voice, a text
and shared noise. Errors are the largest over all values, in standard deviations of what is
compared. "Forced" feeds our model the reference's latents, "free" its own; "disturbed" is how far
the reference parts from itself when 1e-6 is added to its cache.

With `--published` both models get the published weights, a sentence and, by default, the same short
recording. Nothing shifts the end of speech then, and a loop that does not damp is no failure: where
"disturbed" is large, "free" says nothing, and "forced" counts.
"""

import argparse
import dataclasses
import json
import sys
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from pocket_tts_jax.audio.read import read_audio
from pocket_tts_jax.config import Config, available_configs, load_config, packaged_config
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.testing.random_checkpoint import MIN_FRAMES, end_at, random_tensors
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.recording import prepare_prompt
from pocket_tts_jax.weights.source import open_source
from tests.folders import SHARED
from tests.subject import Subject, architectures

RECORDING = SHARED / "data" / "reference_medium_int16.wav"
STEPS = 200
FEW_STEPS = 30  # with 24 layers; past the wrap of Mimi's window of 250, at 16 a frame
DISTURBANCE = 1e-6
LATEST_EOS = 150
TOKENS = 20
SENTENCE = "The train was late again, so we walked home."
VOICE_FRAMES = 12


@dataclasses.dataclass(frozen=True)
class Parity:
    config: str
    steps: int
    forced: float
    free: float
    disturbed: float
    eos_logit: float
    eos_frame: tuple[int, int]
    """The reference's and ours, running freely."""
    audio: float
    audio_correlation: float
    encoder: float
    voice: float | None
    """The cache after the prompt of a real recording; None where there is none."""
    scale: dict[str, float]
    """Standard deviations: latents, eos_logits, audio, encoder."""
    published: bool = False
    """Kyutai's weights, not random ones."""

    def failures(self) -> list[str]:
        """What is not as close as it must be."""
        limits = {"forced": 1e-4, "encoder": 1e-4, "voice": 1e-4, "eos_logit": 1e-3}
        damps = self.disturbed <= 1e-4
        if damps:
            limits["free"] = 1e-3
        wrong = [
            f"{name} {getattr(self, name):.1e} > {limit:.0e}"
            for name, limit in limits.items()
            if not (getattr(self, name) or 0.0) <= limit
        ]
        if not damps and not self.published:
            wrong.append(f"the loop does not damp: {self.disturbed:.1e}, so this proves nothing")
        if self.eos_frame[0] != self.eos_frame[1] and damps:
            wrong.append("speech ends at frame {}, not {}".format(*self.eos_frame[::-1]))
        if not self.audio_correlation >= 0.99999 and damps:
            wrong.append(f"audio correlation {self.audio_correlation}")
        return wrong


def compare(
    name: str,
    steps: int | None = None,
    recording: Path | None = None,
    *,
    published: bool = False,
) -> Parity:
    """Run both models, with random weights or the `published` ones. `steps` defaults to 200, or to
    30 with 24 layers."""
    from tests.reference import Reference  # torch, which the golden tests do without

    config = load_config(packaged_config(name))
    deep = config.flow_lm.transformer.num_layers > 8
    steps = steps or (FEW_STEPS if deep else STEPS)
    seed = zlib.crc32(name.encode())
    audio, tokens, drawn = prompt(config, seed, steps)
    if published:
        tensors, tokens = _published(name)
    else:
        tensors = random_tensors(config, seed)
    reference = Reference(name, tensors)
    expected = reference.run(audio, tokens, drawn, DISTURBANCE)
    shift = 0.0
    if not published:
        last = min(steps - 1, LATEST_EOS)
        shift, _ = end_at(expected.eos_logits[0], reference.threshold, MIN_FRAMES + 1, last)
    tensors["flow_lm.out_eos.bias"] += np.float32(shift)

    subject = Subject(config, tensors)
    room = max(steps, FEW_STEPS if deep else STEPS)  # one size, compiled once
    state = subject.prefix(audio, tokens, rows=2, room=room)
    latents, logits = subject.run(state, expected.latents[0], drawn)
    spoken, ours = reference.decode(expected.latents[0]), subject.decode(latents[1])
    encoded = reference.encode(audio)
    eos = expected.eos_logits[0] + np.float32(shift)
    return Parity(
        config=name,
        steps=steps,
        forced=distance(expected.latents[0], latents[0]),
        free=distance(expected.latents[0], latents[1]),
        disturbed=distance(*expected.latents),
        eos_logit=distance(eos, logits[0]),
        eos_frame=(eos_frame(eos, config), eos_frame(logits[1], config)),
        audio=distance(spoken, ours),
        audio_correlation=float(np.corrcoef(spoken.astype(np.float64), ours)[0, 1]),
        encoder=distance(encoded, subject.encode(audio)),
        voice=None if recording is None else _voice(reference, subject, recording),
        scale={
            "latents": float(expected.latents[0].std()),
            "eos_logits": float(eos.std()),
            "audio": float(spoken.std()),
            "encoder": float(encoded.std()),
        },
        published=published,
    )


def with_layers(count: int) -> list[str]:
    """The published configurations with this many layers."""
    configs = {name: load_config(packaged_config(name)) for name in available_configs()}
    return [name for name, c in configs.items() if c.flow_lm.transformer.num_layers == count]


def assert_parity(name: str) -> None:
    """The first configuration of an architecture speaks long. The others run the same compiled
    functions with other weights, as long as it takes to pass every window."""
    steps = None if architectures()[name] == name else FEW_STEPS
    result = compare(name, steps, RECORDING if RECORDING.exists() else None)
    assert not result.failures(), result
    assert 0.3 < result.scale["latents"] < 3 and 0.1 < result.scale["audio"] < 10, result.scale


def _published(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The tensors of a published model, and the tokens of a sentence; both fetched once."""
    source = open_source(language=name, on_notice=partial(print, file=sys.stderr))
    bins = source.config.flow_lm.lookup_table.n_bins
    tokenizer = load_tokenizer(source.tokenizer_kind, source.tokenizer, bins)
    tokens = np.array(tokenizer.encode(SENTENCE))
    return {n: np.array(t, np.float32) for n, t in source.load_tensors().items()}, tokens


def prompt(config: Config, seed: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(voice recording, tokens, noise) for a comparison."""
    frame = config.mimi.frame_size
    audio = noise(chunk_key(seed, 1), 0, VOICE_FRAMES, frame, 0.01).reshape(-1)
    rng = np.random.Generator(np.random.Philox(key=seed))
    tokens = rng.integers(0, config.flow_lm.lookup_table.n_bins, TOKENS)
    drawn = noise(chunk_key(seed, 0), 0, steps, config.latent_dim, config.default_temperature)
    return audio[: -frame // 3], tokens, drawn  # not whole frames: the last one is completed


def distance(expected: np.ndarray, found: np.ndarray) -> float:
    return float(np.abs(expected - found).max() / expected.std())


def eos_frame(logits: np.ndarray, config: Config) -> int:
    """The frame that ends speech; the number of frames where none does."""
    fires = logits > config.default_eos_threshold
    fires[:MIN_FRAMES] = False
    return int(fires.argmax()) if fires.any() else len(fires)


def _voice(reference, subject: Subject, recording: Path) -> float:
    """Both make a voice of a file, each with its own reader and preparation."""
    expected = reference.voice_of(recording)
    audio, _ = prepare_prompt(*read_audio(recording), truncate=False)
    state = subject.voice(audio)
    errors = []
    for theirs, ours in zip(expected, state.layers, strict=True):
        stacked = np.stack([np.asarray(rows[0]).swapaxes(0, 1) for rows in ours])
        errors.append(distance(theirs, stacked))
    return max(errors)


def table(rows: list[Parity]) -> str:
    """Markdown, one line a configuration."""
    head = (
        "| config | steps | forced | free | disturbed | EOS logit | EOS frame | audio | corr. − 1"
    )
    lines = [head + " | encoder | voice |", "|---|" + "---:|" * 10]
    for r in rows:
        voice = "" if r.voice is None else f"{r.voice:.1e}"
        same = (
            str(r.eos_frame[0]) if len(set(r.eos_frame)) == 1 else "≠".join(map(str, r.eos_frame))
        )
        lines.append(
            f"| {r.config} | {r.steps} | {r.forced:.1e} | {r.free:.1e} | {r.disturbed:.1e} "
            f"| {r.eos_logit:.1e} | {same} | {r.audio:.1e} | {r.audio_correlation - 1:.1e} "
            f"| {r.encoder:.1e} | {voice} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--configs", nargs="+", default=available_configs(), metavar="NAME")
    parser.add_argument("--published", nargs="+", metavar="NAME", help="with Kyutai's weights")
    parser.add_argument("--steps", type=int, help="default: 200, with 24 layers 30")
    parser.add_argument("--recording", type=Path, help="a WAV file to make a voice of")
    parser.add_argument("--json", type=Path, help="write the results here too")
    arguments = parser.parse_args()
    recording = arguments.recording or (RECORDING if RECORDING.exists() else None)
    rows: list[Parity] = []
    published = arguments.published is not None
    for name in arguments.published or arguments.configs:
        rows.append(compare(name, arguments.steps, recording, published=published))
        print(name, *(rows[-1].failures() or ["equal"]), sep=": ", file=sys.stderr, flush=True)
        if arguments.json:
            results = [dataclasses.asdict(row) for row in rows]
            arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    return int(any(row.failures() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
