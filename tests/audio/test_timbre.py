"""Pitch and formants move; pace and loudness stay; a stream gives the same as the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.audio.pitch import PitchTracker
from pocket_tts_jax.audio.timbre import Timbre, TimbreShift, shift_timbre
from pocket_tts_jax.errors import ConfigError

SAMPLE_RATE = 24_000
PERIOD = 200  # samples: 120 Hz
FORMANT = 1200.0  # Hz
HALF = SAMPLE_RATE // 2
FACTORS = st.sampled_from([0.5, 1.0, 1.16, 2.1, 3.0])


def vowel(pulses: int) -> np.ndarray:
    """A train of pulses, each ringing at the formant."""
    time = np.arange(4 * PERIOD) / SAMPLE_RATE
    ring = np.exp(-600 * time) * np.cos(2 * np.pi * FORMANT * time)
    train = np.zeros(pulses * PERIOD)
    train[PERIOD // 2 :: PERIOD] = 0.3
    return np.convolve(train, ring)[: len(train)]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Half a second of silence, a vowel, half a second of silence."""
    return np.pad(vowel(80), HALF).astype(np.float32)


def periods(audio: np.ndarray) -> np.ndarray:
    """The period that is found at each sample; 0 without voice."""
    tracker = PitchTracker()
    tracker.push(audio)
    tracker.finish(len(audio))
    return np.array([tracker.period(sample) for sample in range(len(audio))])


def strongest(audio: np.ndarray, low: float, high: float) -> float:
    """The frequency in Hz between `low` and `high` at which the audio is loudest."""
    frequencies, magnitudes = between(audio, low, high)
    return float(frequencies[magnitudes.argmax()])


def between(audio: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz between `low` and `high`, and their magnitudes."""
    magnitudes = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 4 * len(audio)))
    frequencies = np.fft.rfftfreq(4 * len(audio), 1 / SAMPLE_RATE)
    inside = (frequencies > low) & (frequencies < high)
    return frequencies[inside], magnitudes[inside]


def period_of(audio: np.ndarray) -> int:
    """The shift at which the audio is most like itself, of those that are less than two periods."""
    shifts = np.arange(100, 260)
    alike = [np.dot(audio[:-s], audio[s:]) / np.dot(audio[s:], audio[s:]) for s in shifts]
    return int(shifts[int(np.argmax(alike))])


@pytest.mark.parametrize("low_cut", [0.0, 300.0])
def test_the_pitch_is_found_without_its_fundamental_too(speech, low_cut):
    spectrum = np.fft.rfft(speech)
    spectrum[np.fft.rfftfreq(len(speech), 1 / SAMPLE_RATE) < low_cut] = 0
    found = periods(np.fft.irfft(spectrum, len(speech)).astype(np.float32))
    voiced = np.zeros(len(speech), bool)
    voiced[HALF:-HALF] = True
    np.testing.assert_allclose(found[voiced & (found > 0)], PERIOD, rtol=0.02)
    assert ((found > 0) == voiced).mean() > 0.95


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).standard_normal(12_000)
    assert (periods(noise) > 0).mean() < 0.05
    assert not periods(np.zeros(3000)).any()


@pytest.mark.parametrize(("pitch", "formants"), [(1.4, 1.0), (0.8, 1.0), (1.0, 1.2), (1.5, 1.2)])
def test_pitch_and_formants_move_and_time_and_loudness_stay(speech, pitch, formants):
    made = shift_timbre(speech, Timbre(pitch, formants))
    assert len(made) == len(speech) and made.dtype == np.float32
    middle = slice(len(speech) // 2 - 4000, len(speech) // 2 + 4000)
    assert period_of(made[middle]) == pytest.approx(PERIOD / pitch, rel=0.02)
    # The formant is seen at the nearest harmonic.
    spacing = pitch * SAMPLE_RATE / PERIOD
    assert strongest(made[middle], 600, 2000) == pytest.approx(FORMANT * formants, abs=spacing)
    np.testing.assert_allclose(made.std(), speech.std(), rtol=0.3)
    silence = HALF - 2 * PERIOD
    assert np.abs(made[:silence]).max() < 1e-3 and np.abs(made[-silence:]).max() < 1e-3


@pytest.mark.parametrize("pace", [0.8, 1.1, 1.5])
def test_pace_changes_and_pitch_formants_and_loudness_stay(speech, pace):
    made = shift_timbre(speech, Timbre(pace=pace))
    assert len(made) == round(len(speech) / pace)
    middle = slice(len(made) // 2 - 4000, len(made) // 2 + 4000)
    assert period_of(made[middle]) == pytest.approx(PERIOD, rel=0.02)
    assert strongest(made[middle], 600, 2000) == pytest.approx(FORMANT, abs=SAMPLE_RATE / PERIOD)
    np.testing.assert_allclose(made.std(), speech.std(), rtol=0.1)
    silence = int(HALF / pace) - 2 * PERIOD
    assert np.abs(made[:silence]).max() < 1e-3 and np.abs(made[-silence:]).max() < 1e-3


def test_noise_keeps_its_loudness_at_another_pace():
    noise = (0.1 * np.random.default_rng(0).standard_normal(24_000)).astype(np.float32)
    for pace in (0.9, 1.1):
        made = shift_timbre(noise, Timbre(pace=pace))
        assert made[2000:-2000].std() == pytest.approx(noise.std(), rel=0.1)


def test_noise_in_a_voice_gets_less():
    """Neighbouring periods are averaged: what they share stays."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    pitch = SAMPLE_RATE / PERIOD
    voice = 0.1 * sum(np.cos(2 * np.pi * k * pitch * time) / k for k in range(1, 21))
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(time))
    noisy = np.pad(voice + noise, HALF).astype(np.float32)
    made = shift_timbre(noisy, Timbre())
    below, above = (level(made, *hz) / level(noisy, *hz) for hz in ((60, 1000), (6e3, 11e3)))
    assert below == pytest.approx(1, abs=0.05) and above < 0.75


def level(audio: np.ndarray, low: float, high: float) -> float:
    """How loud the middle of the audio is between two frequencies, in any unit."""
    middle = audio[len(audio) // 4 : -len(audio) // 4]
    return float(np.linalg.norm(between(middle, low, high)[1]))


def test_silence_stays_silent():
    made = shift_timbre(np.zeros(5000, np.float32), Timbre(1.5, 1.2))
    assert len(made) == 5000 and not made.any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12), FACTORS, FACTORS, FACTORS)
def test_a_stream_in_any_pieces_gives_the_whole(sizes, pitch, formants, pace):
    rng = np.random.default_rng(len(sizes))
    audio = np.resize(vowel(30), sum(sizes)) + 0.01 * rng.standard_normal(sum(sizes))
    timbre, audio = Timbre(pitch, formants, pace), audio.astype(np.float32)
    shift, ends = TimbreShift(timbre), np.cumsum(sizes)
    pieces = [shift.push(audio[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    made = np.concatenate([*pieces, shift.finish()])
    assert len(made) == timbre.length(len(audio))
    np.testing.assert_array_equal(made, shift_timbre(audio, timbre))


def test_gaps_between_short_grains_are_silence(speech):
    timbre = Timbre(pitch=0.5, formants=3.0)
    shift = TimbreShift(timbre)
    pieces = [shift.push(speech[start : start + 500]) for start in range(0, len(speech), 500)]
    made = np.concatenate([*pieces, shift.finish()])
    np.testing.assert_array_equal(made, shift_timbre(speech, timbre))


def test_the_delay_is_less_than_two_frames(speech):
    shift, given = TimbreShift(Timbre(2.1, 0.86)), 0
    for start in range(0, len(speech), 1920):
        given += len(shift.push(speech[start : start + 1920]))
        assert min(start + 1920, len(speech)) - given < 2 * 1920


@pytest.mark.parametrize(
    "wrong", [{"pitch": 0.4}, {"formants": 3.1}, {"pace": 0}, {"pitch": float("nan")}]
)
def test_impossible_factors_are_errors(wrong):
    with pytest.raises(ConfigError, match="expected 0.5 to 3"):
        Timbre(**wrong)
