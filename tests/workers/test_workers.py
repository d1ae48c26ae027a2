"""Workers: streams are spoken elsewhere as they are spoken here, and nothing hangs or is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import psutil
import pytest

from pocket_tts_jax.errors import CheckpointError, ConfigError, GenerationError, TextError
from pocket_tts_jax.generation.engine import Audio
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.source import EMBEDDED
from pocket_tts_jax.workers.crew import Crew
from pocket_tts_jax.workers.messages import AHEAD, Stop
from pocket_tts_jax.workers.worker import Worker
from tests.patience import PATIENCE, wait_until

TEXT = "The first sentence is short. [pause:0.3] The second one comes after a pause."
LONG = "This text has many sentences, so that it takes a while. " * 40
OPTIONS = TextOptions(pauses=True)


@pytest.fixture(scope="module")
def model() -> Iterator[TTSModel]:
    model = TTSModel.load_model(workers=2)
    yield model
    model.engine.close()


@pytest.fixture(scope="module")
def alone() -> Iterator[TTSModel]:
    model = TTSModel.load_model()
    yield model
    model.engine.close()


@pytest.fixture
def voice(model: TTSModel) -> VoiceState:
    return model.get_state_for_audio_prompt(model.default_voice())


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(partial(LiteRTEngine, EMBEDDED))
    worker.wait()
    yield worker
    worker.close()


def crew_of(model: TTSModel) -> Crew:
    crew = model.engine.workers
    assert isinstance(crew, Crew)
    return crew


def process_of(worker: Worker) -> psutil.Process:
    return psutil.Process(worker._hearing._process.pid)


def speak(worker: Worker, model: TTSModel, voice: VoiceState, text, seed=7, **options):
    """A stream in the worker."""
    words = "on_word" in options
    prompts = model.prompts(text, options=OPTIONS, words=words)
    return worker.stream(voice, prompts, model.sampling(seed), **options)


def test_a_worker_says_what_this_process_says(worker, alone, voice) -> None:
    """Frames, words and reports: the same, in the same order."""
    here: list = []
    there: list = []

    def events(found: list) -> dict:
        return {"on_chunk": found.append, "on_word": found.append}

    spoken = alone.generate_audio_stream(voice, TEXT, seed=7, text=OPTIONS, **events(here))
    here += [frame.tobytes() for frame in _noted(spoken, here)]
    spoken = speak(worker, alone, voice, TEXT, **events(there))
    there += [frame.tobytes() for frame in _noted(spoken, there)]
    assert len(here) > 20 and here == there


def _noted(frames: Iterator[Audio], found: list) -> Iterator[Audio]:
    """The frames, with their sizes among what was found, so that the order is compared too."""
    for frame in frames:
        found.append(frame.size)
        yield frame


def test_a_text_is_resumed_at_a_chunk(worker, alone, voice) -> None:
    prompts = alone.prompts(TEXT, options=OPTIONS, first_chunk=1)
    there = worker.stream(voice, prompts, alone.sampling(7), first_chunk=1)
    here = alone.generate_audio_stream(voice, TEXT, seed=7, text=OPTIONS, first_chunk=1)
    assert np.concatenate(list(there)).tobytes() == np.concatenate(list(here)).tobytes()


def test_streams_at_the_same_time_are_divided(model, alone, voice) -> None:
    workers = crew_of(model)._workers
    texts = [f"Sentence number {n} is spoken beside the others." for n in range(6)]
    streams = [model.generate_audio_stream(voice, text, seed=n) for n, text in enumerate(texts)]
    parts = [[next(stream)] for stream in streams]
    assert [worker.streams for worker in workers] == [3, 3]
    for part, stream, (seed, text) in zip(parts, streams, enumerate(texts), strict=True):
        part.extend(stream)
        expected = alone.generate_audio(voice, text, seed=seed)
        _assert_close(np.concatenate(part), expected)
    assert [worker.streams for worker in workers] == [0, 0]


def test_a_batch_is_divided(model, alone, voice) -> None:
    texts = [f"This is number {n}." for n in range(12)]
    found = model.generate_batch([voice] * 12, texts, seeds=range(12))
    expected = alone.generate_batch([voice] * 12, texts, seeds=range(12))
    for row, same in zip(found, expected, strict=True):
        _assert_close(row, same)


def _assert_close(found: Audio, expected: Audio) -> None:
    """Equal up to the rounding of int8 in batches."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 0.1 * np.abs(expected).mean()


def test_many_voices_are_kept_and_forgotten(worker, alone) -> None:
    """More than are kept, so that some are sent again."""
    names = alone.voice_names()
    voices = [alone.get_state_for_audio_prompt(names[n % len(names)]) for n in range(12)]
    expected = {
        name: alone.generate_audio(voice, "Yes.", seed=7).tobytes()
        for name, voice in zip(names, voices, strict=False)
    }
    for n in [*range(12), 11, 0, 8]:
        spoken = np.concatenate(list(speak(worker, alone, voices[n], "Yes.")))
        assert spoken.tobytes() == expected[names[n % len(names)]]


def test_pieces_of_text_are_read_when_they_are_needed(worker, alone, voice) -> None:
    read: list[int] = []

    def pieces() -> Iterator[str]:
        for number in range(30):
            read.append(number)
            yield "This sentence is one of thirty that are spoken one by one. "

    frames = speak(worker, alone, voice, pieces())
    next(frames)
    time.sleep(0.3)
    assert 0 < len(read) < 15
    frames.close()
    count = len(read)
    time.sleep(0.1)
    assert len(read) == count


def test_an_error_in_the_text_comes_after_what_was_before_it(worker, alone, voice) -> None:
    class Broken(Exception):
        pass

    def pieces() -> Iterator[str]:
        yield LONG + "And the next be"
        raise Broken

    def heard(frames: Iterator[Audio]) -> int:
        count = 0
        with pytest.raises(Broken):
            for _ in frames:
                count += 1
        return count

    here = heard(alone.generate_audio_stream(voice, pieces(), text=OPTIONS, seed=7))
    assert heard(speak(worker, alone, voice, pieces())) == here > 100


def test_errors_of_a_stream_are_those_of_this_process(worker, alone, voice) -> None:
    long = VoiceState(np.repeat(voice.k, 3000, axis=2), np.repeat(voice.v, 3000, axis=2))
    with pytest.raises(GenerationError) as here:
        list(alone.generate_audio_stream(long, TEXT, text=OPTIONS, seed=7))
    with pytest.raises(GenerationError) as there:
        list(speak(worker, alone, long, TEXT))
    assert str(there.value) == str(here.value)
    with pytest.raises(TextError):
        alone.prompts(" ")
    assert list(speak(worker, alone, voice, "It still speaks."))


def test_a_stream_stops_soon(worker, alone, voice) -> None:
    stop = threading.Event()
    frames = speak(worker, alone, voice, LONG, stop=stop)
    next(frames)
    stop.set()
    assert len(list(frames)) <= 2
    closed = speak(worker, alone, voice, LONG)
    next(closed)
    closed.close()
    busy = process_of(worker)
    wait_until(lambda: busy.cpu_percent(0.2) < 20)  # neither goes on there


def test_a_stream_waits_for_a_slow_listener(worker, alone, voice) -> None:
    frames = speak(worker, alone, voice, LONG)
    next(frames)
    busy = process_of(worker)
    wait_until(lambda: busy.cpu_percent(0.2) < 20)
    (stream,) = worker._hearing.streams.values()
    assert AHEAD // 2 < stream.said.qsize() <= 2 * AHEAD
    assert sum(frame.size for frame in frames) > 100 * 24_000


def test_a_killed_worker_is_replaced(alone, voice) -> None:
    crew = Crew(partial(LiteRTEngine, EMBEDDED), 1)
    (first,) = crew._workers
    frames = speak(first, alone, voice, LONG)
    next(frames)
    process_of(first).kill()
    with pytest.raises(GenerationError, match="code -9. Ask again"):
        list(frames)
    with crew.place() as place:  # the new one is not there yet
        assert place is None
        (second,) = crew._workers
        assert second is not first
        second.wait()
        with crew.place() as next_one:
            assert next_one is second
            assert list(speak(second, alone, voice, "It speaks again."))
    crew.close()


def test_a_worker_that_cannot_load_is_said() -> None:
    before = len(psutil.Process().children())
    with pytest.raises(CheckpointError, match="nowhere"):
        Crew(partial(LiteRTEngine, "nowhere"), 2)
    assert len(psutil.Process().children()) == before


def test_signals_are_for_the_process_that_asks(worker, alone, voice) -> None:
    frames = speak(worker, alone, voice, "This is said to its end, whatever comes.")
    next(frames)
    process = process_of(worker)
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    assert len(list(frames)) > 10


def test_workers_end_with_the_process_that_began_them() -> None:
    code = (
        "from pocket_tts_jax import TTSModel\n"
        "model = TTSModel.load_model(workers=2)\n"
        "print(*(w._hearing._process.pid for w in model.engine.workers._workers), flush=True)\n"
        "input()"
    )
    for how in (signal.SIGKILL, None):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        workers = [psutil.Process(int(number)) for number in process.stdout.readline().split()]
        assert len(workers) == 2
        if how is None:
            process.stdin.write("\n")
        else:
            process.kill()
        process.communicate()
        assert process.returncode == (0 if how is None else -how)
        gone, left = psutil.wait_procs(workers, PATIENCE)
        assert len(gone) == 2 and not left


def test_a_model_that_is_freed_takes_its_workers_along() -> None:
    model = TTSModel.load_model(workers=1)
    (worker,) = crew_of(model)._workers
    process = process_of(worker)
    del worker, model
    wait_until(lambda: not process.is_running())


def test_a_fork_is_refused(model, voice) -> None:
    """As without workers: it must not write into the pipes of this process."""
    with ThreadPoolExecutor(1) as pool:
        crew = crew_of(model)
        crew._process += 1  # what a fork sees
        try:
            with crew.place() as place:
                assert place is None
        finally:
            crew._process = os.getpid()
        assert pool.submit(lambda: model.generate_audio(voice, "Here.")).result().size


def test_a_stream_may_end_where_others_begin(model) -> None:
    """The garbage collector closes it, in any thread and at any place."""
    crew = crew_of(model)

    def end_inside() -> None:
        place = crew.place()
        worker = place.__enter__()
        assert worker is not None
        with crew._lock, worker._sending:
            worker._send(Stop(-1))
            place.__exit__(None, None, None)

    thread = threading.Thread(target=end_inside, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not any(worker.streams for worker in crew._workers)


def test_a_closed_engine_speaks_nowhere() -> None:
    model = TTSModel.load_model(workers=1)
    voice = model.get_state_for_audio_prompt(model.default_voice())
    before = len(psutil.Process().children())
    frames = model.generate_audio_stream(voice, LONG)
    next(frames)
    model.engine.close()
    with pytest.raises(GenerationError):
        list(frames)
    with pytest.raises(GenerationError):
        model.generate_audio(voice, LONG)
    assert len(psutil.Process().children()) == before - 1


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        TTSModel.load_model(workers=-1)
    with pytest.raises(ConfigError, match="Only the LiteRT engine"):
        TTSModel.load_model(workers=2, engine="jax")


def test_whole_batches_are_computed_without_workers(model) -> None:
    with pytest.raises(ConfigError, match="without workers"):
        model.engine.compute_whole_batches()
