"""One process of an app: it opens a model and a voice, and speaks. Prints one line of JSON.

`latency` starts such processes and summarises them; `soak` uses the functions in one process. Only
the standard library is imported before the clock starts: importing the package, NumPy and the
engine is part of a cold start.
"""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.child import answer
from benchmarks.texts import TEXT

if TYPE_CHECKING:
    from pocket_tts_jax.tts_model import TTSModel
    from pocket_tts_jax.voice.state import VoiceState

SEED = 7
STREAMING, SYNC = "streaming", "sync"


def main() -> None:
    parser = model_parser(__doc__, TEXT)
    parser.add_argument("--first", choices=(STREAMING, SYNC), default=STREAMING)
    parser.add_argument("--requests", type=int, default=0, help="warm requests of each kind")
    options = parser.parse_args()
    answer(lambda: measure(options))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Import and load, the first request, then warm requests: ms, or what `time_stream` returns.
    `verify_ms` is the part of the load in which files are verified."""
    start = time.perf_counter()
    verified = _time_verification()
    model, voice = open_model(options)
    loaded = time.perf_counter()
    first = time_whole if options.first == SYNC else time_stream
    cold = first(model, voice, options.text)
    if options.requests:
        time_stream(model, voice, options.text)  # warms up all shapes of the text
    requests = range(options.requests)
    return {
        "load_ms": (loaded - start) * 1e3,
        "verify_ms": sum(verified) * 1e3,
        "cold": cold,
        STREAMING: [time_stream(model, voice, options.text) for _ in requests],
        SYNC: [time_whole(model, voice, options.text) for _ in requests],
    }


def _time_verification() -> list[float]:
    """The seconds of each call that verifies a file, from now on. For modules that are imported
    after this."""
    from pocket_tts_jax.files import verify

    seconds: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            start, before = time.perf_counter(), sum(seconds)
            try:
                return function(*arguments, **options)
            finally:  # without those calls that this one made
                seconds.append(time.perf_counter() - start - (sum(seconds) - before))

        return run

    for name in ("damage", "is_intact"):
        setattr(verify, name, timed(getattr(verify, name)))
    return seconds


def model_parser(description: str | None, text: str) -> argparse.ArgumentParser:
    """The options of `open_model`, and a text to speak."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="an export, or a model folder")
    parser.add_argument("--engine", choices=("litert", "jax"), default="litert")
    parser.add_argument("--voice", help="name of a voice; the model's default")
    parser.add_argument("--text", default=text)
    parser.add_argument("--threads", type=int, default=2, help="of the engine")
    return parser


def open_model(
    options: argparse.Namespace, temperature: float | None = None
) -> "tuple[TTSModel, VoiceState]":
    """The model behind either engine, and a voice."""
    model = _open(options.engine, options.model, options.threads, temperature)
    return model, model.get_state_for_audio_prompt(options.voice or model.default_voice())


def _open(engine: str, folder: Path, threads: int, temperature: float | None) -> "TTSModel":
    from pocket_tts_jax.tts_model import TTSModel

    return TTSModel.load_model(model=folder, temp=temperature, engine=engine, threads=threads)


def time_stream(model: "TTSModel", voice: Any, text: str) -> dict[str, Any]:
    """One streaming request. Arrivals are those of each frame, in ms after the request."""
    start, arrivals, samples = time.perf_counter(), [], 0
    for frame in model.generate_audio_stream(voice, text, seed=SEED):
        arrivals.append((time.perf_counter() - start) * 1e3)
        samples += frame.size
    return {
        "first_audio_ms": arrivals[0],
        "total_ms": arrivals[-1],
        "audio_ms": samples / model.sample_rate * 1e3,
        "arrivals_ms": arrivals,
    }


def time_whole(model: "TTSModel", voice: Any, text: str) -> float:
    """One synchronous request, in ms."""
    start = time.perf_counter()
    model.generate_audio(voice, text, seed=SEED)
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()
