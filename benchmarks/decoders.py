"""Compares the decoders of two exports of one model, on the same latents.

    python -m exporters.tflite --out floats
    python -m exporters.tflite --out int8 --decoder int8
    python -m benchmarks.decoders floats int8

The first export speaks sentences of a fixed list, and both decode its latents. Printed are sizes;
how far the second's samples are from the first's (signal-to-noise ratio, and the log-spectral
distance and the level above 8 kHz, which DNSMOS does not hear); and the median of ms per frame, in
calls of four frames and of one, in turns. The third and the fourth line say how far each export's
samples are between such calls.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from exporters.gate.difference import Difference
from pocket_tts_jax.generation.ending import EndOfSpeech
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.tts_model import TTSModel
from training.judging.sentences import fixed_sentences

FILE = "mimi_decoder.tflite"
CALLS = (4, 1)  # frames; 4 is what speech ends up with, 1 what it starts with
WINDOW, HOP = 1024, 256
SPLIT_HZ = 8000
SPEECH_DB = -40  # against the loudest window; below are pauses
SILENCE = 1e-9
Latents = Float[np.ndarray, "frames z"]
Audio = Float[np.ndarray, " samples"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exports", type=Path, nargs=2, metavar="EXPORT")
    parser.add_argument("--count", type=int, default=8, help="sentences")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = TTSModel.load_model(model=options.exports[0], engine="litert")
    latents = [speak(model, text) for text in fixed_sentences("new")[: options.count]]
    for export in options.exports:
        print(f"{export}: {FILE} has {(export / FILE).stat().st_size / 1e6:.2f} MB")
    engines = [LiteRTEngine(export, threads=1) for export in options.exports]
    first, second = ([decode(engine, piece, CALLS[0]) for piece in latents] for engine in engines)
    print(f"{sum(map(len, latents))} frames:", compare(first, second, model.sample_rate))
    for export, engine, whole in zip(options.exports, engines, (first, second), strict=True):
        single = [
            decode(engine, piece, CALLS[1])[: a.size]
            for piece, a in zip(latents, whole, strict=True)
        ]
        said = compare(whole, single, model.sample_rate)
        print(f"{export}, calls of {CALLS[1]} frame from those of {CALLS[0]}:", said)
    for threads in options.threads:
        engines = [LiteRTEngine(export, threads=threads) for export in options.exports]
        for call in CALLS:
            times = compare_times(engines, latents, call, options.rounds)
            print(f"{threads} threads, calls of {call}:", times)


def speak(model: TTSModel, text: str) -> Latents:
    """The latents of a text in the model's own voice."""
    voice = model.get_state_for_audio_prompt(model.default_voice())
    sampling, width, latents = model.sampling(seed=0), model.config.latent_dim, []
    for chunk, prompt in enumerate(p for p in model.prompts(text) if not isinstance(p, Pause)):
        session = model.engine.start(voice, prompt, sampling.flow_steps)
        end, key = EndOfSpeech.of(sampling, prompt), chunk_key(sampling.seed, chunk)
        draws = noise(key, 0, prompt.max_frames, width, sampling.temperature)
        for frame, draw in enumerate(draws):
            step = session.step(draw)
            if end.reached(frame, step.eos_logit):
                break
            latents.append(step.latent)
    return np.stack(latents)


def decode(engine: LiteRTEngine, latents: Latents, call: int) -> Audio:
    """The samples of whole calls of `call` frames."""
    decoder, whole = engine.decoder(), len(latents) // call * call
    pieces = [decoder.decode(latents[i : i + call]) for i in range(0, whole, call)]
    return np.concatenate(pieces)


def compare(first: list[Audio], second: list[Audio], rate: int) -> str:
    """In words, how far the second's samples are from the first's: means over sentences."""
    pairs = list(zip(first, second, strict=True))
    ratios = [Difference.of(a, b).snr_db for a, b in pairs]
    above = np.mean([above_split(a, b, rate) for a, b in pairs], axis=0)
    return (
        f"SNR {np.mean(ratios):.1f} dB (least {np.min(ratios):.1f}); above {SPLIT_HZ} Hz a "
        f"log-spectral distance of {above[0]:.2f} dB, level {above[1]:+.2f} dB"
    )


def above_split(a: Audio, b: Audio, rate: int) -> tuple[float, float]:
    """Log-spectral distance and change of level above `SPLIT_HZ`, in dB: means over the windows
    with speech."""
    powers = [_powers(audio) for audio in (a, b)]
    high = np.fft.rfftfreq(WINDOW, 1 / rate) >= SPLIT_HZ
    loudness = powers[0].sum(axis=1)
    speech = loudness > loudness.max() * 10 ** (SPEECH_DB / 10)
    expected, found = (power[speech][:, high] + SILENCE for power in powers)
    distances = np.sqrt(np.mean((10 * np.log10(found / expected)) ** 2, axis=1))
    levels = 10 * np.log10(found.sum(axis=1) / expected.sum(axis=1))
    return float(distances.mean()), float(levels.mean())


def _powers(audio: Audio) -> Float[np.ndarray, "windows bins"]:
    windows = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    return np.abs(np.fft.rfft(windows * np.hanning(WINDOW))) ** 2


def compare_times(
    engines: list[LiteRTEngine], latents: list[Latents], call: int, rounds: int
) -> str:
    """In words, ms per frame of both engines: medians over all sentences and rounds, and the
    median of the ratios of a sentence spoken by one right after the other."""
    times: list[list[float]] = []
    for piece in latents * rounds:
        times.append([])
        for engine in engines:
            start = time.perf_counter()
            decode(engine, piece, call)
            times[-1].append((time.perf_counter() - start) * 1e3 / (len(piece) // call * call))
    first, second = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    return f"{first:.2f} and {second:.2f} ms a frame, median ratio {ratio:.3f}"


if __name__ == "__main__":
    main()
