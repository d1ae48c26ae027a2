"""A model that hums: what the commands pass to a model, without one."""

import inspect
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
from typer.testing import CliRunner, Result

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.tags import Tags
from pocket_tts_jax.cli.app import app
from pocket_tts_jax.errors import TextError
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.state import VoiceState

SIGNATURE = inspect.signature(TTSModel.load_model)
FRAME = 1920
FRAMES_PER_CHUNK = 5
CHUNK = FRAME * FRAMES_PER_CHUNK
TAIL = 4800  # samples of silence that the command adds


class StubModel:
    """Each word is a chunk of five frames of a tone."""

    sample_rate, frame_size = 24000, FRAME
    engine = SimpleNamespace(name="jax", precision="fp32")
    temp = 0.3

    def __init__(self, error: BaseException | None = None, fail_at: int = 0):
        self.error, self.fail_at = error, fail_at
        self.choice: Any = None
        self.voice: Any = None
        self.truncate: bool | None = None
        self.stream: dict[str, Any] = {}
        self.warm = False
        self.timbre: dict[str, str] = {}  # of every voice

    def load_model(self, *arguments: Any, **options: Any) -> "StubModel":
        """In place of `TTSModel.load_model`; `choice` keeps what was asked for."""
        bound = SIGNATURE.bind(*arguments, **options)
        bound.apply_defaults()
        self.choice = SimpleNamespace(**bound.arguments)
        return self

    def tags(self, voice: str) -> Tags:
        return Tags("stub", Path(voice).name, "jax", "fp32", "0123456789abcdef")

    def default_voice(self) -> str:
        return "default"

    def get_state_for_audio_prompt(self, voice: Any, truncate: bool = False) -> VoiceState:
        self.voice, self.truncate = voice, truncate
        nothing = np.zeros((1, 1, 3, 4), np.float32)
        return VoiceState(nothing, nothing, metadata=self.timbre)

    def generate_audio_stream(
        self,
        model_state: VoiceState,
        text_to_generate: str,
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        *,
        seed: int,
        text: TextOptions,
        first_chunk: int,
        stop: Any,
        on_chunk: Any,
        on_word: Any = None,
    ) -> Generator[np.ndarray, None, None]:
        words = text_to_generate.split()
        if not words:
            raise TextError("There is nothing to say.")
        self.stream = {
            "words": words,
            "max_tokens": max_tokens,
            "frames_after_eos": frames_after_eos,
            "seed": seed,
            "text": text,
            "first_chunk": first_chunk,
        }
        return self._hum(words, first_chunk, on_chunk, on_word)

    def _hum(
        self, words: list[str], first: int, on_chunk: Any, on_word: Any
    ) -> Generator[np.ndarray, None, None]:
        made = 0
        for index, word in enumerate(words[first:], first):
            for _ in range(FRAMES_PER_CHUNK):
                if self.error is not None and made == self.fail_at:
                    raise self.error
                time = (made * FRAME + np.arange(FRAME)) / self.sample_rate
                yield (0.5 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)
                made += 1
            if on_word is not None:
                place = sum(len(word) + 1 for word in words[:index])
                end = made * FRAME / self.sample_rate
                start = end - FRAMES_PER_CHUNK * FRAME / self.sample_rate
                on_word(SpokenWord(word, start, end, index, place, place + len(word)))
            on_chunk(ChunkReport(index, word, 1, FRAMES_PER_CHUNK, True))

    def warmup(self) -> None:
        self.warm = True


def samples(path: Path) -> int:
    return soundfile.info(path).frames


def run_cli(*arguments: object, input: str | bytes | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], input=input)
