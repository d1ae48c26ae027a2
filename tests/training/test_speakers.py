"""Other speakers: their sound, their data, and the vectors that lead them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.setup import phoneme_tokenizer
from training.batches.examples import BUCKETS, Examples, collate
from training.data.pitch import Pitch, find_pitch
from training.data.psola import find_marks, move
from training.data.spectra import FRAME, SAMPLE_RATE
from training.data.streams import LATENT_DIM, open_streams
from training.errors import TrainingError
from training.frames import append_shard
from training.judging.subjects import held_out

PERIOD = 200  # samples: 120 Hz
FORMANT = 1200.0  # Hz


def vowel(pulses: int) -> np.ndarray:
    """A train of pulses, each ringing at the formant."""
    time = np.arange(4 * PERIOD) / SAMPLE_RATE
    ring = np.exp(-600 * time) * np.cos(2 * np.pi * FORMANT * time)
    train = np.zeros(pulses * PERIOD)
    train[PERIOD // 2 :: PERIOD] = 0.3
    return np.convolve(train, ring)[: len(train)]


@pytest.fixture
def speech() -> tuple[np.ndarray, Pitch]:
    """Half a second of silence, a vowel, half a second of silence; and its pitch."""
    half = np.zeros(SAMPLE_RATE // 2)
    audio = np.concatenate([half, vowel(80), half])
    voiced = np.zeros(len(audio), bool)
    voiced[len(half) : -len(half)] = True
    return audio, Pitch(np.full(len(audio), float(PERIOD)), voiced)


def strongest(audio: np.ndarray, low: float, high: float) -> float:
    """The frequency in Hz between `low` and `high` at which the audio is loudest."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 4 * len(audio)))
    frequencies = np.fft.rfftfreq(4 * len(audio), 1 / SAMPLE_RATE)
    inside = (frequencies > low) & (frequencies < high)
    return float(frequencies[inside][spectrum[inside].argmax()])


def period_of(audio: np.ndarray) -> int:
    """The shift at which the audio is most like itself, of those that are less than two periods."""
    shifts = np.arange(100, 260)
    alike = [np.dot(audio[:-s], audio[s:]) / np.dot(audio[s:], audio[s:]) for s in shifts]
    return int(shifts[int(np.argmax(alike))])


@pytest.mark.parametrize("low_cut", [0.0, 300.0])
def test_the_pitch_is_found_without_its_fundamental_too(speech, low_cut):
    audio, known = speech
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE) < low_cut] = 0
    found = find_pitch(np.fft.irfft(spectrum, len(audio)))
    both = found.voiced & known.voiced
    np.testing.assert_allclose(found.period[both], PERIOD, rtol=0.02)
    assert (found.voiced == known.voiced).mean() > 0.95


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).standard_normal(12_000)
    assert find_pitch(noise).voiced.mean() < 0.05
    assert not find_pitch(np.zeros(3000)).voiced.any()


def test_marks_are_a_period_apart_and_go_on_through_silence(speech):
    audio, pitch = speech
    marks = find_marks(audio, pitch)
    assert (np.diff(marks.place[marks.voiced]) == PERIOD).mean() > 0.95
    assert np.diff(marks.place).max() < 2 * PERIOD
    assert marks.place[0] < PERIOD and marks.place[-1] > len(audio) - PERIOD


@pytest.mark.parametrize(("pitch", "formants"), [(1.4, 1.0), (0.8, 1.0), (1.0, 1.2), (1.5, 1.2)])
def test_pitch_and_formants_move_and_time_and_loudness_stay(speech, pitch, formants):
    audio, heard = speech
    made = move(audio, heard, pitch, 1.0, formants)
    assert len(made) == len(audio)
    middle = slice(len(audio) // 2 - 4000, len(audio) // 2 + 4000)
    assert period_of(made[middle]) == pytest.approx(PERIOD / pitch, rel=0.02)
    # The formant is seen at the nearest harmonic.
    spacing = pitch * SAMPLE_RATE / PERIOD
    assert strongest(made[middle], 600, 2000) == pytest.approx(FORMANT * formants, abs=spacing)
    np.testing.assert_allclose(np.square(made).mean(), np.square(audio).mean(), rtol=1e-4)
    silence = SAMPLE_RATE // 2 - 2 * PERIOD
    assert np.abs(made[:silence]).max() < 1e-3 and np.abs(made[-silence:]).max() < 1e-3


def test_a_flat_melody_has_one_pitch(speech):
    audio, heard = speech
    periods = np.where(np.arange(len(audio)) < len(audio) // 2, 190.0, 210.0)
    made = move(audio, Pitch(periods, heard.voiced), 1.0, 0.0, 1.0)
    early, late = (period_of(made[s : s + 4000]) for s in (14_000, 22_000))
    assert early == late == pytest.approx(PERIOD, rel=0.01)


def test_silence_stays_silent():
    nothing = np.zeros(5000)
    made = move(nothing, Pitch(np.full(5000, 120.0), np.zeros(5000, bool)), 1.5, 1.0, 1.2)
    assert len(made) == 5000 and not made.any()


def write_shard(folder: Path, speakers: list[str | None], held_out: bool = False) -> Path:
    """A shard of short utterances, one a speaker."""
    rows = []
    for i, speaker in enumerate(speakers):
        row = {"text": "One boat.", "source": "x", "held_out": held_out}
        row |= {"offset": i * 2 * FRAME, "samples": 2 * FRAME}
        rows.append(row | ({"speaker": speaker} if speaker else {}))
    folder.mkdir(exist_ok=True)
    path = folder / f"part{len(list(folder.glob('*.i16')))}"
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.ones(len(rows) * 2 * FRAME, np.int16).tofile(path.with_suffix(".i16"))
    return path


def encode(frames: Path) -> None:
    for stream in open_streams(frames):
        np.zeros((len(stream.pcm), LATENT_DIM), np.float32).tofile(stream.latents_path)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return phoneme_tokenizer(tmp_path_factory.mktemp("reader") / "t.model")


def test_batches_know_who_speaks_and_join_no_two_speakers(reader, tmp_path):
    frames = tmp_path / "frames"
    append_shard(write_shard(tmp_path / "data", [None, "zoe", "abe", "abe"]), frames)
    encode(frames)
    statistics = np.zeros(LATENT_DIM), np.ones(LATENT_DIM)
    examples = Examples(frames, reader, *statistics)
    assert examples.speakers == ("abe", "zoe")
    rows = [example for bucket in BUCKETS for example in examples.train[bucket]]
    alone = [e.speaker for e in rows if e.text == "One boat."]
    assert alone == [0, 2, 1, 1]
    assert [e.speaker for e in rows if e.text != "One boat."] == [1]
    assert collate(rows, BUCKETS[0]).speaker.tolist() == [e.speaker for e in rows]


def test_a_speaker_who_comes_later_is_refused(reader, tmp_path):
    frames = tmp_path / "frames"
    append_shard(write_shard(tmp_path / "data", [None, "abe"]), frames)
    encode(frames)
    examples = Examples(frames, reader, np.zeros(LATENT_DIM), np.ones(LATENT_DIM))
    append_shard(write_shard(tmp_path / "data", ["zoe"]), frames)
    encode(frames)
    with pytest.raises(TrainingError, match="a new speaker, zoe"):
        examples.reload()


def test_each_speaker_is_judged_by_recordings_of_its_own(tmp_path):
    frames = tmp_path / "frames"
    append_shard(write_shard(tmp_path / "data", [None, "abe", None], held_out=True), frames)
    assert [u.first for _, u in held_out(frames, None)] == [0, 12]
    assert [u.first for _, u in held_out(frames, None, "abe")] == [6]
    with pytest.raises(TrainingError, match="holds no sentence out of zoe"):
        held_out(frames, None, "zoe")
