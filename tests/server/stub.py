"""The embedded model with an engine of a few lines: real texts, voices and streams, at once."""

import hashlib
import threading
import time

import numpy as np

from pocket_tts_jax.generation.engine import Step
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.source import open_source


class StubEngine:
    """Speaks a frame for each token. Samples depend on the chunk's tokens and on the noise.

    `delay` is how many seconds a step takes; `steps` counts them, over all streams.
    """

    name, precision, device, workers = "stub", "fp32", "cpu", None
    speech_fingerprint = transformer_fingerprint = weights_fingerprint = ""

    def __init__(self, config, delay: float = 0.0):
        self.config, self.delay = config, delay
        self.steps, self.closed = 0, False
        self._lock = threading.Lock()

    def start(self, voice: VoiceState, prompt: Prompt, flow_steps: int) -> "StubLatents":
        return StubLatents(self, prompt)

    def decoder(self) -> "StubEngine":
        return self

    def decode(self, latents: np.ndarray) -> np.ndarray:
        return np.repeat(latents[:, 0], self.config.mimi.frame_size).astype(np.float32)

    def step(self) -> None:
        with self._lock:
            self.steps += 1
        time.sleep(self.delay)

    def check_flow_steps(self, flow_steps: int) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def encode(self, audio: np.ndarray) -> np.ndarray:
        return np.full((4, 8), audio.mean(), np.float32)

    def voice_from_latents(self, encoded: np.ndarray) -> VoiceState:
        zeros = np.zeros((1, 1, encoded.shape[0], 2), np.float32)
        return VoiceState(zeros, zeros)


class StubLatents:
    def __init__(self, engine: StubEngine, prompt: Prompt):
        digest = hashlib.sha256(repr(prompt.ids).encode()).digest()
        self._engine, self._tokens, self._frame = engine, len(prompt.ids), 0
        self._level = digest[0] / 1000 + 0.1

    def step(self, noise: np.ndarray) -> Step:
        self._engine.step()
        self._frame += 1
        attention = np.zeros((1, self._tokens), np.float32)
        attention[0, min(self._frame, self._tokens) - 1] = 1.0
        ended = self._frame >= self._tokens
        return Step(noise * 0.01 + self._level, 10.0 if ended else -10.0, attention)


def stub_model(delay: float = 0.0) -> TTSModel:
    """The embedded model; `.engine` is a `StubEngine`."""
    source = open_source()
    return TTSModel(source, StubEngine(source.config, delay))  # type: ignore[arg-type]
