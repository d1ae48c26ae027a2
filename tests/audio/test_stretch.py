"""Time stretching: length, pitch, and equality however the stream is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.audio.read import read_audio
from pocket_tts_jax.audio.stretch import TimeStretch, time_stretch
from pocket_tts_jax.errors import ConfigError
from tests.folders import SHARED

DATA = SHARED / "data"
RATE = 24000
SPEEDS = [0.5, 0.8, 0.95, 1.25, 1.5, 2.0]


def buzz(seconds: float = 1.5, pitch: float = 130.0) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    partials = [np.sin(2 * np.pi * pitch * n * t) / n for n in range(1, 12)]
    return np.asarray(np.sum(partials, axis=0) * 0.2, np.float32)


def pitches(audio: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Pitch in Hz around each sample of `centres`: the first high peak of the normalised
    autocorrelation of 80 ms; NaN where nothing is voiced."""
    frame, lags = 960, np.arange(RATE // 400, RATE // 70)
    found = np.full(centres.size, np.nan)
    for n, centre in enumerate(centres):
        window = audio[centre - frame : centre + frame].astype(np.float64)
        if window.size < 2 * frame or np.sqrt(np.mean(window**2)) < 0.02:
            continue
        shifted = np.lib.stride_tricks.sliding_window_view(window, frame)[lags]
        head = window[:frame]
        likeness = shifted @ head / np.sqrt((head @ head) * np.square(shifted).sum(axis=1))
        if likeness.max() > 0.85:
            first = int(np.flatnonzero(likeness > 0.95 * likeness.max())[0])
            found[n] = RATE / lags[first + int(np.argmax(likeness[first : first + 15]))]
    return found


@pytest.mark.parametrize("speed", SPEEDS)
def test_length_and_pitch_of_a_buzz(speed):
    stretched = time_stretch(buzz(), speed)
    assert stretched.size == round(buzz().size / speed)
    middle = stretched[2000:-2000]
    found = pitches(middle, np.arange(1000, middle.size - 1000, 1000))
    assert np.abs(found / 130.0 - 1).max() < 0.03
    # Neither holes nor bumps where windows meet.
    levels = [np.sqrt(np.mean(middle[i : i + 480] ** 2)) for i in range(0, middle.size - 480, 240)]
    original = np.sqrt(np.mean(buzz() ** 2))
    assert 0.8 * original < min(levels) and max(levels) < 1.2 * original


@pytest.mark.parametrize("speed", SPEEDS)
def test_length_and_pitch_of_speech(speed):
    if not DATA.exists():
        pytest.skip("needs a recording from ../shared/data")
    speech, _ = read_audio(DATA / "reference_medium_int16.wav")
    stretched = time_stretch(speech, speed)
    assert abs(stretched.size * speed / speech.size - 1) < 0.03
    places = np.arange(1000, speech.size - 1000, 600)
    before, after = pitches(speech, places), pitches(stretched, (places / speed).astype(int))
    ratios = after / before
    assert np.isfinite(ratios).sum() > 20
    assert abs(np.nanmedian(ratios) - 1) < 0.03
    assert np.abs(stretched).max() <= 1.05 * np.abs(speech).max()


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_pace_is_even(speed):
    """Every burst begins where the speed puts it, give or take the search's reach."""
    seconds = np.arange(2 * RATE) / RATE
    bursts = buzz(2.0) * (seconds % 0.4 > 0.2)
    stretched = time_stretch(bursts, speed)
    loud = np.abs(stretched) > 0.1
    quiet_before = np.convolve(loud, np.ones(RATE // 20), "full")[: loud.size] - loud == 0
    onsets = np.flatnonzero(loud & quiet_before) / RATE
    np.testing.assert_allclose(onsets, np.arange(0.2, 2.0, 0.4) / speed, atol=0.025)


@settings(max_examples=25, deadline=None)
@given(
    speed=st.sampled_from(SPEEDS),
    cuts=st.lists(st.integers(0, 6000), max_size=8),
    size=st.integers(0, 6000),
)
def test_pieces_make_no_difference(speed, cuts, size):
    audio = buzz(0.3)[:size]
    stretch = TimeStretch(speed)
    edges = [0, *sorted(min(cut, audio.size) for cut in cuts), audio.size]
    pieces = [stretch.push(audio[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    whole = np.concatenate([*pieces, stretch.finish()])
    assert np.array_equal(whole, time_stretch(audio, speed))
    assert whole.size == round(audio.size / speed) and whole.dtype == np.float32
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_delay_is_short(speed):
    audio, stretch = buzz(), TimeStretch(speed)
    returned = sum(stretch.push(audio[i : i + 480]).size for i in range(0, RATE, 480))
    assert RATE - returned * speed < (0.03 + 0.015 * speed + 0.03) * RATE


def test_speed_one_changes_nothing():
    assert np.array_equal(time_stretch(buzz(), 1.0), buzz())


def test_silence_stays_silence():
    assert not time_stretch(np.zeros(RATE, np.float32), 1.3).any()


@pytest.mark.parametrize("speed", [0.0, 0.49, 2.01, -1.0, float("nan")])
def test_speed_out_of_range(speed):
    with pytest.raises(ConfigError, match="expected 0.5 to 2"):
        time_stretch(buzz(), speed)
