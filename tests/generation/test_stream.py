"""The streaming loop, with an engine of a few lines in place of a model."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
# Streams are typed as iterators; that they can be closed is what is tested. The stub has those
# parts of an engine that a stream calls.

import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pocket_tts_jax.audio.timbre import shift_timbre
from pocket_tts_jax.errors import ConfigError, GenerationError
from pocket_tts_jax.generation.ending import FRAMES_BEFORE_EOS, ChunkReport, EndOfSpeech
from pocket_tts_jax.generation.engine import Step
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.generation.stream import SCHEDULE, stream
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.text.words import Word
from pocket_tts_jax.voice.state import VoiceState
from tests.folders import ROOT
from tests.patience import PATIENCE

WIDTH, FRAME = 4, 240
VOICE = VoiceState(np.zeros((1, 1, 1, 2), np.float32), np.zeros((1, 1, 1, 2), np.float32))
NO_ATTENTION = np.zeros((1, 1), np.float32)


class StubEngine:
    """Latents are the noise itself; a frame of audio repeats its latent's first value. EOS comes
    at the frame that the prompt's first token names."""

    config = SimpleNamespace(
        mimi=SimpleNamespace(frame_size=FRAME, sample_rate=24000), latent_dim=WIDTH
    )
    workers = None

    def __init__(self, bad_frame: int | None = None, delay: float = 0.0):
        self.steps: list[int] = []
        self.calls: list[int] = []
        self.bad_frame, self.delay = bad_frame, delay

    def start(self, voice, prompt, flow_steps):
        return StubLatents(self, prompt.ids[0])

    def decoder(self):
        return self

    def decode(self, latents):
        self.calls.append(len(latents))
        return np.repeat(latents[:, 0], FRAME).astype(np.float32)


class StubLatents:
    def __init__(self, engine, eos_frame):
        self.engine, self.eos_frame, self.frame = engine, eos_frame, 0

    def step(self, noise):
        frame, self.frame = self.frame, self.frame + 1
        self.engine.steps.append(frame)
        time.sleep(self.engine.delay)
        if frame == self.engine.bad_frame:
            return Step(noise, float("nan"), NO_ATTENTION)
        return Step(noise, 1.0 if frame == self.eos_frame else -10.0, NO_ATTENTION)


def prompt(eos_frame: int, limit: int = 100, tail: int = 3) -> Prompt:
    return Prompt(f"ends at {eos_frame}", (eos_frame,), tail, limit)


def sampling(**changes) -> Sampling:
    return Sampling(**({"seed": 7, "temperature": 0.3, "eos_threshold": -4.0} | changes))


def expected_frame(chunk: int, frame: int) -> float:
    return float(noise(chunk_key(7, chunk), frame, 1, WIDTH, 0.3)[0, 0])


def test_frames_are_the_noise_of_their_chunk_and_place():
    reports: list[ChunkReport] = []
    frames = list(
        stream(StubEngine(), VOICE, [prompt(10), prompt(8)], sampling(), on_chunk=reports.append)
    )
    lengths = [10 + 3, 8 + 3]
    assert [r.frames for r in reports] == lengths and all(r.eos for r in reports)
    assert [r.index for r in reports] == [0, 1]
    places = [(c, f) for c, n in enumerate(lengths) for f in range(n)]
    assert [frame.shape for frame in frames] == [(FRAME,)] * len(places)
    for frame, (chunk, place) in zip(frames, places, strict=True):
        assert frame[-1] == np.float32(expected_frame(chunk, place))


def test_a_voice_with_a_timbre_changes_each_chunk_and_no_length():
    """Chunk by chunk: what a chunk sounds like does not depend on the one before it."""
    deeper = replace(VOICE, metadata={"pitch": "0.8", "formants": "0.9"})
    items = [prompt(30), Pause(0.05), prompt(2)]
    plain, made = (
        np.concatenate(frames)
        for frames in (
            list(stream(StubEngine(), voice, items, sampling())) for voice in (VOICE, deeper)
        )
    )
    assert made.shape == plain.shape
    first, pause = 33 * FRAME, 1200
    np.testing.assert_array_equal(made[:first], shift_timbre(plain[:first], deeper.timbre))
    assert not made[first : first + pause].any()
    rest = plain[first + pause :]
    np.testing.assert_array_equal(made[first + pause :], shift_timbre(rest, deeper.timbre))
    frames = list(stream(StubEngine(), deeper, items[:1], sampling()))
    assert [len(frame) for frame in frames] == [FRAME] * 33


def test_a_voice_with_a_pace_changes_the_length_of_chunks_and_not_of_pauses():
    slow = replace(VOICE, metadata={"pace": "0.9"})
    items = [prompt(30), Pause(0.05), prompt(2)]
    plain, frames = (
        list(stream(StubEngine(), voice, items, sampling())) for voice in (VOICE, slow)
    )
    made, whole = np.concatenate(frames), np.concatenate(plain)
    first = round(33 * FRAME / 0.9)
    last = round((len(whole) - 33 * FRAME - 1200) / 0.9)
    assert len(made) == first + 1200 + last
    np.testing.assert_array_equal(made[:first], shift_timbre(whole[: 33 * FRAME], slow.timbre))
    assert not made[first : first + 1200].any()
    shorter = [len(frame) for frame in frames if len(frame) != FRAME]
    assert shorter == [first % FRAME, last % FRAME]  # the last of each chunk


def test_decoder_calls_follow_the_schedule_whatever_the_queue_holds():
    slow, fast = StubEngine(delay=0.003), StubEngine()
    heard = [
        np.concatenate(list(stream(engine, VOICE, [prompt(27)], sampling())))
        for engine in (slow, fast)
    ]
    assert slow.calls == fast.calls == [1, 1, 2, 4, 8, 8, 4, 2]
    assert max(slow.calls) == SCHEDULE[-1]
    np.testing.assert_array_equal(heard[0], heard[1])


def test_second_step_waits_for_the_first_decoder_call():
    class SlowDecoder(StubEngine):
        def decode(self, latents):
            if not self.calls:
                time.sleep(0.05)
                assert self.steps == [0]
            return super().decode(latents)

    engine = SlowDecoder()
    assert len(list(stream(engine, VOICE, [prompt(9)], sampling()))) == 9 + 3


def test_first_frame_needs_one_step_and_one_decoder_call():
    gate = threading.Event()

    class Gated(StubLatents):
        def step(self, noise):
            if self.frame == 1:
                gate.wait(PATIENCE)
            return super().step(noise)

    engine = StubEngine()
    engine.start = lambda voice, prompt, flow_steps: Gated(engine, 20)
    frames = stream(engine, VOICE, [prompt(20)], sampling())
    assert next(frames).shape == (FRAME,)
    assert engine.steps == [0] and engine.calls == [1]
    gate.set()
    frames.close()


@pytest.mark.parametrize("taken", [5, 9, 20])
def test_nothing_is_heard_after_a_stop_not_even_what_was_decoded(taken):
    stop = threading.Event()
    frames = stream(
        StubEngine(), VOICE, [prompt(40), Pause(20 * FRAME / 24000)], sampling(), stop=stop
    )
    for _ in range(taken):
        next(frames)
    stop.set()
    assert list(frames) == []


def test_chunks_fade_in_and_nothing_else_does():
    frames = list(stream(StubEngine(), VOICE, [prompt(7), prompt(7)], sampling()))
    for start in (0, 10):
        ramp = np.linspace(0, 1, 120, dtype=np.float32) * frames[start][-1]
        np.testing.assert_allclose(frames[start][:120], ramp, rtol=1e-6)
        assert (frames[start + 1] == frames[start + 1][0]).all()


def test_eos_is_ignored_in_the_first_frames():
    policy = EndOfSpeech(-4.0, 2)
    ends = [policy.reached(frame, 0.0) for frame in range(FRAMES_BEFORE_EOS + 3)]
    assert policy.eos_frame == FRAMES_BEFORE_EOS
    assert ends == [False] * (FRAMES_BEFORE_EOS + 2) + [True]


@pytest.mark.parametrize("tail", [0, 1, 5])
def test_frames_after_eos_count_exactly(tail):
    frames = stream(StubEngine(), VOICE, [prompt(9)], sampling(frames_after_eos=tail))
    assert len(list(frames)) == 9 + tail


def test_a_chunk_without_end_is_reported_and_the_next_is_as_alone(caplog):
    reports: list[ChunkReport] = []
    endless = prompt(999, limit=12)
    with caplog.at_level(logging.WARNING):
        both = list(
            stream(StubEngine(), VOICE, [endless, prompt(8)], sampling(), on_chunk=reports.append)
        )
    assert [(r.eos, r.frames) for r in reports] == [(False, 12), (True, 11)]
    assert "12 frames" in caplog.text and "ends at 999" in caplog.text
    alone = list(stream(StubEngine(), VOICE, [prompt(8)], sampling(), first_chunk=1))
    np.testing.assert_array_equal(np.concatenate(both[12:]), np.concatenate(alone))


def test_pauses_are_silence_of_the_exact_length():
    items = [prompt(7), Pause(1000 / 24000), prompt(7)]
    frames = list(stream(StubEngine(), VOICE, items, sampling()))
    audio = np.concatenate(frames)
    assert audio.size == 2 * 10 * FRAME + 1000
    assert not audio[10 * FRAME : 10 * FRAME + 1000].any()
    second = expected_frame(1, 9)
    assert audio[-1] == np.float32(second)


@pytest.mark.parametrize("how", ["close", "event"])
def test_cancelling_ends_work_within_two_frames(how):
    engine, stop = StubEngine(delay=0.002), threading.Event()
    frames = stream(engine, VOICE, [prompt(9999, limit=10000)], sampling(), stop=stop)
    next(frames)
    if how == "close":
        frames.close()
        done = len(engine.steps)
    else:
        stop.set()
        done = len(engine.steps)
        list(frames)
    time.sleep(0.02)
    assert len(engine.steps) <= done + 2
    assert not any(t.name == "pocket-tts latents" for t in threading.enumerate())


def test_a_slow_listener_holds_the_model_back():
    engine = StubEngine()
    frames = stream(engine, VOICE, [prompt(9999, limit=10000)], sampling())
    next(frames)
    time.sleep(0.1)
    assert len(engine.steps) < 100
    frames.close()


def test_errors_of_the_models_thread_reach_the_caller():
    with pytest.raises(GenerationError, match="not finite in frame 3"):
        list(stream(StubEngine(bad_frame=3), VOICE, [prompt(20)], sampling()))

    def prompts():
        yield prompt(7)
        raise KeyError("from the text")

    with pytest.raises(KeyError, match="from the text"):
        list(stream(StubEngine(), VOICE, prompts(), sampling()))


def test_an_error_of_the_engine_names_its_chunk():
    class Full(StubEngine):
        def start(self, voice, prompt, flow_steps):
            if prompt.ids[0] == 8:
                raise GenerationError("voice and text need 9 positions")
            return super().start(voice, prompt, flow_steps)

    with pytest.raises(GenerationError, match=r"Chunk 6 \('ends at 8'\): voice and text need 9"):
        list(stream(Full(), VOICE, [prompt(7), prompt(8)], sampling(), first_chunk=5))


def test_a_stream_that_nobody_finishes_ends_with_the_process():
    """The thread leaves the engine first: one that is inside XLA aborts the process."""
    program = """
import time
from types import SimpleNamespace
from tests.generation import test_stream as t
class Slow(t.StubLatents):
    def step(self, noise):
        print("step", flush=True)
        time.sleep(0.2)
        print("done", flush=True)
        return super().step(noise)
engine = t.StubEngine()
engine.start = lambda voice, prompt, flow_steps: Slow(engine, 99)
frames = t.stream(engine, t.VOICE, [t.prompt(99)], t.sampling())
next(frames)
time.sleep(0.1)  # into the second step
"""
    root = ROOT
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    assert result.stdout.split() == ["step", "done"] * 2 and result.stderr == ""


def test_long_texts_are_read_as_they_are_spoken():
    taken = []

    def prompts():
        for i in range(1000):
            taken.append(i)
            yield prompt(7)

    frames = stream(StubEngine(), VOICE, prompts(), sampling())
    next(frames)
    time.sleep(0.05)
    assert len(taken) < 20
    frames.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"noise_clamp": 0.0},
        {"frames_after_eos": -1},
        {"flow_steps": 0},
        {"seed": -1},
        {"seed": 1 << 64},
        {"seed": 1.5},
        {"eos_threshold": float("nan")},
        {"eos_threshold": float("inf")},
    ],
)
def test_impossible_options_are_refused(changes):
    with pytest.raises(ConfigError):
        sampling(**changes)


def test_words_are_told_before_their_audio_is_half_a_second_old():
    """Two chunks of one token and a pause: the times are those of the frames."""

    class Attentive(StubEngine):
        def decode(self, latents):
            return np.full(len(latents) * FRAME, 0.5, np.float32)

    def spoken(text, first, frames):
        one = Word(text, first, first + len(text), 0, 1)
        return replace(prompt(frames), words=(one,))

    events: list = []
    items = [spoken("one", 0, 10), Pause(0.5), spoken("two", 4, 8)]
    for frame in stream(Attentive(), VOICE, items, sampling(), on_word=events.append):
        events.append(len(frame))
    told = [event for event in events if not isinstance(event, int)]
    seconds = FRAME / 24000
    assert [(w.text, w.chunk) for w in told] == [("one", 0), ("two", 1)]
    assert told[0].start < 0.005 and told[0].end == pytest.approx(13 * seconds)
    assert told[1].start == pytest.approx(13 * seconds + 0.5, abs=0.005)
    assert told[1].end == pytest.approx(13 * seconds + 0.5 + 11 * seconds)
    assert events.index(told[0]) == 13  # right behind the chunk's last frame
