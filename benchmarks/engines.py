"""The engines that are compared, behind one interface. Heavy imports happen inside functions.

An engine is opened with `open_engine`, which returns a function from a text to its audio in
pieces, as they are made. No engine may end a text by itself (see `workload`).
"""

import importlib.util
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NEVER_ENDS = 1e9
"""An EOS threshold that no logit reaches."""
VOICE = "bench"
EXPORTS = ("int8", "int8+decoder", "mixed", "int4", "int4+decoder", "fp32")
"""The precisions of exports (`workload.make_export`)."""
FRAME_SIZE = 1920
WARM_UP_FRAMES = 16
SEED = 7
SWIFT = "pocket_tts.swift"
PROGRAM = Path(__file__).parents[1] / ".build" / "release" / "pocket-tts"
Pieces = Iterator[np.ndarray]  # samples, float32
Speak = Callable[[str], Pieces]


@dataclass(frozen=True)
class Engine:
    """One engine: where it comes from, and what it can be asked for."""

    name: str
    module: str
    install: str
    precisions: tuple[str, ...]
    full_size_only: bool = False
    program: Path | None = None

    @property
    def installed(self) -> bool:
        if self.program is not None:
            return self.program.is_file()
        return importlib.util.find_spec(self.module) is not None


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "pocket_tts_jax.litert",
            "ai_edge_litert",
            "pip install pocket-tts-jax",
            EXPORTS,
        ),
        Engine(
            SWIFT,
            "",
            "build the Swift package (docs/ios.md)",
            EXPORTS,
            program=PROGRAM,
        ),
        Engine("pocket_tts_jax.jax", "jax", "pip install 'pocket-tts-jax[jax]'", ("fp32",)),
        Engine(
            "pocket-tts",
            "pocket_tts",
            "pip install pocket-tts==4.0.1",
            ("fp32", "int8"),
        ),
        Engine(
            "ptts",
            "ptts",
            "pip install ptts==0.4.2",
            ("f32", "q8_0", "q4_0", "q4k"),
            full_size_only=True,
        ),
    )
}
OURS = ("pocket_tts_jax.litert", "pocket_tts_jax.jax")
# Not measured: its Pocket model is five ONNX graphs and a scored SentencePiece vocabulary, and
# neither the sherpa-onnx package nor the exporters published for it make them from a checkpoint
# with a `tokenizers` vocabulary and `bos_before_voice`, as the current English model has.
NOT_COMPARABLE = {
    "sherpa-onnx": (
        "its Pocket model cannot be made from these weights: the package has no exporter, and "
        "its text front end needs a scored SentencePiece vocabulary, while this model has a "
        "`tokenizers` one"
    )
}


def import_engine(name: str) -> None:
    """Import what `open_engine` needs, so that import and loading can be timed separately."""
    if name == "pocket_tts_jax.litert":
        import pocket_tts_jax.litert_engine.engine
        import pocket_tts_jax.tts_model
    elif name == "pocket_tts_jax.jax":
        import pocket_tts_jax.jax_engine.engine
        import pocket_tts_jax.tts_model  # noqa: F401
    elif name == "pocket-tts":
        import pocket_tts  # noqa: F401
    else:
        import ptts  # noqa: F401  # pyright: ignore[reportMissingImports]


def open_engine(name: str, precision: str, threads: int, folder: Path, workers: int = 0) -> Speak:
    """Load the model and the voice of the workload in `folder`. `workers` is for our LiteRT."""
    logging.disable(logging.WARNING)  # every text reaches its limit here, on purpose
    openers = {
        "pocket_tts_jax.litert": _open_litert,
        "pocket_tts_jax.jax": _open_jax,
        "pocket-tts": _open_reference,
        "ptts": _open_ptts,
    }
    if workers:
        return _open_litert(precision, threads, folder, workers)
    return openers[name](precision, threads, folder)


def open_batch(folder: Path, rows: int) -> Callable[[str], list[np.ndarray]]:
    """The JAX engine on `rows` equal texts at once; it returns the whole result."""
    from pocket_tts_jax.tts_model import TTSModel

    logging.disable(logging.WARNING)
    model = TTSModel.load_model(model=folder, engine="jax", eos_threshold=NEVER_ENDS)
    voice = model.get_state_for_audio_prompt(VOICE)

    def speak(text: str) -> list[np.ndarray]:
        return model.generate_batch([voice] * rows, [text] * rows, seeds=range(rows))

    return speak


def _open_litert(precision: str, threads: int, folder: Path, workers: int = 0) -> Speak:
    from pocket_tts_jax.tts_model import TTSModel

    model = TTSModel.load_model(
        model=folder / "exports" / precision,
        engine="litert",
        threads=threads,
        workers=workers,
        eos_threshold=NEVER_ENDS,
    )
    voice = model.get_state_for_audio_prompt(VOICE)
    return lambda text: model.generate_audio_stream(voice, text, seed=SEED)


def _open_jax(precision: str, threads: int, folder: Path) -> Speak:
    from pocket_tts_jax.tts_model import TTSModel

    model = TTSModel.load_model(
        model=folder, engine="jax", threads=threads, eos_threshold=NEVER_ENDS
    )
    voice = model.get_state_for_audio_prompt(VOICE)
    return lambda text: model.generate_audio_stream(voice, text, seed=SEED)


def _open_reference(precision: str, threads: int, folder: Path) -> Speak:
    import torch
    from pocket_tts import TTSModel

    torch.set_num_threads(threads)  # of each operation; its model and decoder run in two threads
    torch.manual_seed(SEED)
    # pocket-tts prefers torchao's int8 products if installed; they are much slower than torch's.
    sys.modules["torchao"] = None  # type: ignore[assignment]
    model = TTSModel.load_model(
        config=folder / "config.yaml", quantize=precision == "int8", eos_threshold=NEVER_ENDS
    )
    voice = model.get_state_for_audio_prompt(folder / "voices" / f"{VOICE}.safetensors")

    def speak(text: str) -> Pieces:
        stop = threading.Event()  # closing its generator does not stop its threads
        try:
            for piece in model.generate_audio_stream(voice, text, stop=stop):
                yield piece.numpy()
        finally:
            stop.set()

    return speak


def _open_ptts(precision: str, threads: int, folder: Path) -> Speak:
    import ptts  # pyright: ignore[reportMissingImports]

    ptts.set_num_threads(threads)
    model = ptts.TTS(
        str(folder / "ptts"),
        device="cpu",
        quant=precision,
        voice=VOICE,
        seed=SEED,
        eos_threshold=NEVER_ENDS,
        lang="none",
    )

    def speak(text: str) -> Pieces:
        with model.stream(text) as pieces:
            yield from pieces

    return speak


def frame_times(pieces: Pieces) -> tuple[list[float], int]:
    """When each frame came, in seconds of a clock that the processes of a machine share
    (`time.perf_counter`); and how many samples came."""
    times: list[float] = []
    samples = 0
    for piece in pieces:
        now = time.perf_counter()
        samples += piece.size
        times += [now] * (samples // FRAME_SIZE - len(times))
    return times, samples


def warm_up(pieces: Pieces) -> int:
    """Read about `WARM_UP_FRAMES` frames and close the stream; returns the samples read."""
    read = 0
    for piece in pieces:
        read += piece.size
        if read >= WARM_UP_FRAMES * FRAME_SIZE:
            break
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
    return read


def pairs(threads: list[int], engine: Engine) -> list[tuple[str, int]]:
    """Every precision with every number of threads."""
    return list(itertools.product(engine.precisions, threads))
