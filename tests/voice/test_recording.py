"""The shape of a voice prompt, and the report on the recording."""

import numpy as np
import pytest

from pocket_tts_jax.audio.read import read_audio, resample
from pocket_tts_jax.errors import AudioError
from pocket_tts_jax.voice.recording import end_on_pause, frame_levels, prepare_prompt
from tests.folders import SHARED

DATA = SHARED / "data"
RATE = 24000


def speech(seconds: float = 3.0, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    """Bursts of a buzz with pauses between, as words have, ending in a burst."""
    t = np.arange(int(seconds * rate)) / rate
    buzz = np.sin(2 * np.pi * 140 * t) + 0.5 * np.sin(2 * np.pi * 700 * t)
    envelope = np.clip(np.sin(2 * np.pi * 2.25 * t) * 3 + 1, 0.0, 1)
    return (buzz / 1.5 * envelope * level).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.zeros(int(seconds * rate), np.float32)


def test_the_end_is_speech_a_fade_and_a_pause():
    recording = np.concatenate([speech(2.0), silence(1.5)])
    prompt = end_on_pause(recording, RATE)
    pause, fade = int(0.08 * RATE), int(0.02 * RATE)
    assert not prompt[-pause:].any()
    end = prompt.size - pause
    assert end % fade == 0 and end <= 2.0 * RATE
    assert np.array_equal(prompt[: end - fade], recording[: end - fade])
    tail = recording[end - fade : end]
    np.testing.assert_allclose(prompt[end - fade : end], tail * np.linspace(1, 0, fade), atol=1e-7)
    assert prompt[end - 1] == 0


def test_quiet_room_noise_at_the_end_is_cut_too():
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 1e-3
    longer = end_on_pause(np.concatenate([speech(2.0), noise]), RATE)
    assert longer.size == end_on_pause(speech(2.0), RATE).size


def test_truncation_to_30_seconds():
    recording = speech(31.0)
    prompt, report = prepare_prompt(recording, RATE, truncate=True)
    assert prompt.size == end_on_pause(recording[: 30 * RATE], RATE).size
    assert report.truncated and report.seconds == 31.0
    assert "has 31.0 s; its first 30 are used" in report.warnings[0]
    whole, report = prepare_prompt(recording, RATE, truncate=False)
    assert whole.size > prompt.size and not report.truncated
    assert "Truncate it" in report.warnings[0]


def test_a_good_recording_is_left_alone():
    prompt, report = prepare_prompt(speech(6.0), RATE, truncate=True)
    assert report.warnings == () and report.clipped == 0 and report.snr_db > 15
    assert report.used_seconds == prompt.size / RATE


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (speech(0.6), "only 0.* s of speech"),
        (np.concatenate([speech(0.6), silence(3)]), "only 0.* s of speech"),
        (np.clip(speech(4.0, level=2.0), -1, 1), "clipped"),
        (speech(4.0, level=0.003), "very quiet"),
        (
            speech(4.0)
            + np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * 0.1,
            "stands out only",
        ),
    ],
)
def test_poor_recordings_are_warned_about(recording, message):
    _, report = prepare_prompt(recording, RATE, truncate=True)
    assert any(message.split(".*")[0] in warning for warning in report.warnings)
    assert len(report.warnings) == 1


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (silence(3.0), "silent"),
        (speech(3.0) * 1e-4, "silent"),
        (speech(0.05), "only 0.050 s"),
        (np.zeros(0, np.float32), "only 0.000 s"),
    ],
)
def test_no_voice_in_it_is_an_error(recording, message):
    with pytest.raises(AudioError, match=message):
        prepare_prompt(recording, RATE, truncate=True)


def test_leading_silence_is_cut_only_when_asked():
    recording = np.concatenate([silence(1.0), speech(2.0)])
    kept, _ = prepare_prompt(recording, RATE, truncate=True)
    cut, _ = prepare_prompt(recording, RATE, truncate=True, trim_start=True)
    assert kept.size - cut.size == int((1.0 - 0.04) * RATE)
    assert np.array_equal(kept[-cut.size :], cut)
    again, _ = prepare_prompt(speech(2.0), RATE, truncate=True, trim_start=True)
    assert np.array_equal(again, end_on_pause(speech(2.0), RATE))


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_any_rate_gives_the_same_prompt(rate):
    there, _ = prepare_prompt(speech(3.0, rate), rate, truncate=True)
    here, _ = prepare_prompt(speech(3.0), RATE, truncate=True)
    assert abs(there.size - here.size) <= 0.02 * RATE
    size = min(there.size, here.size) - int(0.1 * RATE)
    cosine = there[:size] @ here[:size] / np.linalg.norm(there[:size])
    assert cosine / np.linalg.norm(here[:size]) > 0.999


def test_levels():
    levels = frame_levels(np.concatenate([silence(0.02), np.full(480, 0.1, np.float32)]), RATE)
    np.testing.assert_allclose(levels, [-240, -20], atol=1e-4)
    assert frame_levels(silence(0.01), RATE).size == 0
    assert end_on_pause(silence(0.01), RATE).size == 240


@pytest.mark.reference
@pytest.mark.parametrize(
    "name", ["reference_medium_int16.wav", "reference_question_int16.wav", None]
)
def test_the_end_is_the_references(name):
    pytest.importorskip("pocket_tts")
    import torch
    from pocket_tts.data.audio_utils import end_on_pause as theirs

    if name is None:
        recording = np.concatenate([speech(1.7), silence(0.333)])
    elif DATA.exists():
        recording, _ = read_audio(DATA / name)
    else:
        pytest.skip("needs a recording from ../shared/data")
    for rate in (RATE, 16000):
        audio = resample(recording, RATE, rate)
        expected = theirs(torch.from_numpy(audio)[None], rate)[0].numpy()
        np.testing.assert_allclose(end_on_pause(audio, rate), expected, rtol=0, atol=1e-7)
