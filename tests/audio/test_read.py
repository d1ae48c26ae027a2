"""Recordings of every kind become the same samples."""

import io
import struct
from math import gcd

import numpy as np
import pytest
import soundfile

from pocket_tts_jax.audio.read import read_audio, resample
from pocket_tts_jax.errors import AudioError
from tests.folders import SHARED

DATA = SHARED / "data"


def tone(rate: int, seconds: float = 0.5) -> np.ndarray:
    """Three partials below 3 kHz, which any rate from 8 kHz up holds."""
    t = np.arange(int(rate * seconds)) / rate
    wave = sum(np.sin(2 * np.pi * f * t + f) / n for n, f in enumerate((220, 660, 2900), 2))
    return np.asarray(wave * 0.5, np.float32)


def encoded(samples: np.ndarray, rate: int, container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1 / 127),
        ("WAV", "PCM_16", 1 / 32767),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-7),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.03),
        ("WAV", "ALAW", 0.03),
        ("WAVEX", "PCM_16", 1 / 32767),
        ("WAVEX", "FLOAT", 0),
        ("FLAC", "PCM_16", 1 / 32767),
        ("FLAC", "PCM_24", 1e-6),
    ],
)
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000, 96000])
def test_formats(container, subtype, tolerance, rate):
    samples, found = read_audio(encoded(tone(rate), rate, container, subtype))
    assert found == rate and samples.dtype == np.float32
    np.testing.assert_allclose(samples, tone(rate), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("container", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
def test_lossy_formats(container, subtype):
    original = tone(48000, 1.0)
    samples, rate = read_audio(encoded(original, 48000, container, subtype))
    assert rate == 48000 and abs(samples.size - original.size) < 0.1 * rate
    # An encoder may delay the signal; the best alignment tells whether it is the same.
    spectrum = np.fft.rfft(samples, 1 << 17) * np.conj(np.fft.rfft(original, 1 << 17))
    best = np.fft.irfft(spectrum).max()
    assert best / np.linalg.norm(samples) / np.linalg.norm(original) > 0.98


def test_paths_files_and_pipes(tmp_path):
    data = encoded(tone(24000), 24000, "WAV", "FLOAT")
    (tmp_path / "v.wav").write_bytes(data)

    class Pipe(io.BytesIO):
        def seek(self, *_):
            raise io.UnsupportedOperation("a pipe")

    for source in (tmp_path / "v.wav", str(tmp_path / "v.wav"), data, io.BytesIO(data), Pipe(data)):
        samples, rate = read_audio(source)
        assert rate == 24000 and np.array_equal(samples, tone(24000))


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels):
    many = np.stack([tone(24000) * (c + 1) / channels for c in range(channels)], axis=1)
    expected = tone(24000) * (channels + 1) / (2 * channels)
    for source in (encoded(many, 24000, "WAV", "FLOAT"), (many.T, 24000)):
        np.testing.assert_allclose(read_audio(source)[0], expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint8])
def test_arrays(dtype):
    wave = tone(24000)
    values = {
        "f": wave,
        "i": wave * np.iinfo(np.int16 if dtype == np.int16 else np.int32).max,
        "u": np.round(wave * 127) + 128,
    }[np.dtype(dtype).kind]
    samples, rate = read_audio((values.astype(dtype), 24000))
    assert rate == 24000
    np.testing.assert_allclose(samples, wave, atol=1 / 100 if dtype == np.uint8 else 1 / 16000)


def test_a_header_that_promises_too_much():
    """A download that broke off, or a stream's header: what is there is read."""
    data = encoded(tone(24000), 24000, "WAV", "PCM_16")
    half, _ = read_audio(data[: 44 + tone(24000).size])
    assert half.size == tone(24000).size // 2
    streamed = data[:40] + struct.pack("<I", 0xFFFFFFFF) + data[44:]
    assert np.array_equal(read_audio(streamed)[0], read_audio(data)[0])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "cannot be read as audio"),
        (b"this is a text, not a recording", "cannot be read as audio.*WAV, FLAC, MP3 or OGG"),
        ("missing.wav", "missing.wav does not exist"),
        (".", "is a folder"),
        ("n" * 300, "cannot be opened.*too long"),
        ("~no-such-user/v.wav", "cannot be opened"),
        (bytearray(b"RIFF"), "read from bytearray: give a path, bytes"),
        (io.StringIO("RIFF"), "read from StringIO.*binary mode"),
        ((np.zeros(0, np.float32), 24000), "no samples"),
        ((np.array([0, np.nan]), 24000), "NaN or infinity"),
        ((np.zeros((24000, 2)), 24000), "channels last: transpose"),
        ((np.zeros((2, 3, 4)), 24000), "Expected samples"),
        ((np.zeros(5, bool), 24000), "float or integer"),
        ((np.zeros(5), 24000.5), "whole number"),
        ((np.zeros(5), None), "whole number"),
        ((np.zeros(5), float("nan")), "whole number"),
        ((np.zeros(5), float("inf")), "whole number"),
        ((np.zeros(5), 4000), "at least 8000"),
    ],
)
def test_what_cannot_be_read_says_so(source, message):
    with pytest.raises(AudioError, match=message):
        read_audio(source)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_resampling_keeps_the_signal(rate):
    there = resample(tone(rate), rate, 24000)
    assert abs(there.size - tone(24000).size) <= 2
    size = min(there.size, tone(24000).size)
    middle = slice(1000, size - 1000)
    np.testing.assert_allclose(there[middle], tone(24000)[middle], atol=2e-4)
    assert resample(tone(24000), 24000, 24000) is not None


def test_resampling_suppresses_what_does_not_fit():
    t = np.arange(48000) / 48000
    high = np.sin(2 * np.pi * 15000 * t).astype(np.float32)
    assert np.abs(resample(high, 48000, 24000)[500:-500]).max() < 1e-4


@pytest.mark.reference
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_resampling_is_close_to_the_references(rate):
    """The size of the documented difference, on speech."""
    if not DATA.exists():
        pytest.skip("needs a recording from ../shared/data")
    signal = pytest.importorskip("scipy.signal")
    speech, _ = read_audio(DATA / "reference_medium_int16.wav")
    recording = resample(speech, 24000, rate)
    divisor = gcd(rate, 24000)
    theirs = signal.resample_poly(recording, 24000 // divisor, rate // divisor)
    ours = resample(recording, rate, 24000)
    size = min(theirs.size, ours.size)
    difference = np.square(ours[:size] - theirs[:size]).mean() / np.square(theirs[:size]).mean()
    assert -70 < 10 * np.log10(difference) < -40


@pytest.mark.reference
@pytest.mark.parametrize("name", ["reference_medium_int16.wav", "reference_question_int16.wav"])
def test_reading_is_the_references(name):
    pytest.importorskip("pocket_tts")
    if not DATA.exists():
        pytest.skip("needs a recording from ../shared/data")
    from pocket_tts.data.audio import audio_read

    theirs, rate = audio_read(DATA / name)
    ours, our_rate = read_audio(DATA / name)
    assert our_rate == rate and np.array_equal(ours, theirs[0].numpy())
