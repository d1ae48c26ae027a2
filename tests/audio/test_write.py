"""Audio files and streams: one header, right sizes, nothing half-written."""

import errno
import io
import os
import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

import pocket_tts_jax.files.atomic as atomic
from pocket_tts_jax.audio.read import read_audio
from pocket_tts_jax.audio.tags import Tags
from pocket_tts_jax.audio.write import FORMATS, open_writer, to_int16, wav_header, write_audio
from pocket_tts_jax.errors import AudioError
from tests.folders import ROOT

RATE = 24000


def speech(seconds: float = 1.0) -> np.ndarray:
    t = np.arange(int(RATE * seconds)) / RATE
    return (0.4 * np.sin(2 * np.pi * 200 * t) * np.sin(2 * np.pi * 3 * t)).astype(np.float32)


def stream(target, pieces: int = 7, **options) -> None:
    with open_writer(target, RATE, **options) as writer:
        for piece in np.array_split(speech(), pieces):
            writer.write(piece)


class Pipe(io.BytesIO):
    """What standard output is when it is piped."""

    @property
    def data(self) -> bytes:
        return self.getvalue()

    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation("a pipe")


def test_a_wav_with_tags_is_whole_everywhere(tmp_path: Path) -> None:
    """The sizes are right in a file and in memory, and what is in front leaves samples alone."""
    tags = Tags("a model", "joe", "litert", "int8", "f" * 32)
    for target in (tmp_path / "a.wav", io.BytesIO()):
        write_audio(target, speech(), RATE, tags=tags)
        data = target.getvalue() if isinstance(target, io.BytesIO) else target.read_bytes()
        assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
        assert data == wav_header(RATE, 2 * speech().size, tags) + to_int16(speech()).tobytes()
        with wave.open(io.BytesIO(data)) as file:
            assert file.getnframes() == speech().size


def test_wav_file_is_whole_and_sized(tmp_path):
    stream(tmp_path / "a.wav")
    data = (tmp_path / "a.wav").read_bytes()
    assert data.count(b"RIFF") == 1
    assert data == wav_header(RATE, 2 * speech().size) + to_int16(speech()).tobytes()
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 2, RATE, speech().size)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_wav_in_a_pipe_has_one_open_header():
    pipe = Pipe()
    stream(pipe)
    assert pipe.data[:44] == wav_header(RATE, None) and pipe.data.count(b"RIFF") == 1
    assert pipe.data[44:] == to_int16(speech()).tobytes()
    samples, rate = read_audio(pipe.data)
    assert rate == RATE and samples.size == speech().size


def test_the_header_comes_before_the_first_sample():
    pipe = Pipe()
    with open_writer(pipe, RATE) as writer:
        assert len(pipe.data) == 44
        writer.write(speech()[:10])
        assert len(pipe.data) == 64


def test_raw_is_only_samples():
    pipe = Pipe()
    stream(pipe, format="raw")
    assert pipe.data == to_int16(speech()).astype("<i2").tobytes()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("pieces", [1, 13])
def test_every_format_reads_back(tmp_path, suffix, pieces):
    path = tmp_path / f"a.{suffix.upper()}"
    stream(path, pieces)
    samples, rate = read_audio(path)
    assert rate in (RATE, 48000)
    assert abs(samples.size / rate - 1.0) < 0.1
    level = np.sqrt(np.mean(samples**2)) / np.sqrt(np.mean(speech() ** 2))
    assert 0.9 < level < 1.1
    if suffix in ("wav", "flac"):
        assert np.array_equal(samples, to_int16(speech()).astype(np.float32) / 32768)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_compressed_into_a_pipe(tmp_path, suffix):
    pipe = Pipe()
    stream(pipe, format=suffix)
    samples, rate = read_audio(pipe.data)
    assert rate == RATE and abs(samples.size - speech().size) < 0.1 * RATE


def test_long_compressed_audio(tmp_path):
    write_audio(tmp_path / "a.ogg", np.tile(speech(), 100), RATE)
    assert soundfile.info(str(tmp_path / "a.ogg")).frames == 100 * RATE


def test_conversion_limits_and_rounds_towards_zero():
    samples = np.array([0, 1, -1, 1.5, -9, 0.99999, -0.00004, 2.0**-15], np.float32)
    assert to_int16(samples).tolist() == [0, 32767, -32767, 32767, -32767, 32766, -1, 0]


def test_nan_is_never_written(tmp_path):
    for name in ("a.wav", "a.flac", "a.mp3"):
        with pytest.raises(AudioError, match="NaN"):
            write_audio(tmp_path / name, np.array([0, np.nan], np.float32), RATE)
    assert not list(tmp_path.iterdir())


def test_tail_of_silence(tmp_path):
    stream(tmp_path / "a.wav", tail_seconds=0.2)
    samples, _ = read_audio(tmp_path / "a.wav")
    assert samples.size == 1.2 * RATE and not samples[RATE:].any()


def test_a_failure_leaves_what_was_there(tmp_path):
    stream(tmp_path / "a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    for path in (tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "c.mp3"):
        with pytest.raises(KeyboardInterrupt), open_writer(path, RATE) as writer:
            writer.write(speech())
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == before


def test_in_place_keeps_a_readable_part(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(KeyboardInterrupt), open_writer(path, RATE, in_place=True) as writer:
        writer.write(speech())
        assert path.stat().st_size == 44 + 2 * speech().size
        raise KeyboardInterrupt
    with wave.open(str(path)) as file:
        assert file.getnframes() == speech().size


def test_errors_of_the_block_come_through(tmp_path):
    error = OSError(errno.ECONNRESET, "not about the file")
    with pytest.raises(OSError) as caught, open_writer(tmp_path / "a.wav", RATE):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_another_pipe_that_breaks_leaves_a_whole_file(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with pytest.raises(BrokenPipeError), open_writer(path, RATE, in_place=True) as writer:
        writer.write(speech())
        raise BrokenPipeError
    assert path.stat().st_size > 44 and soundfile.info(str(path)).frames == speech().size
    if suffix == "wav":
        assert path.read_bytes()[:44] == wav_header(RATE, 2 * speech().size)


def test_a_full_disk(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() + len(data) > 100:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    with pytest.raises(AudioError, match="No space left.*Check that there is room"):
        stream(Full())

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(AudioError, match="a.wav cannot be written: No space left"):
        stream(tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("format", ["wav", "flac", "mp3"])
def test_a_full_device(format):
    with pytest.raises(AudioError, match="No space left.*that there is room"):
        stream("/dev/full", format=format)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("a.txt", {}, "a.txt: what comes after the last dot.*wav, raw, flac"),
        ("a.wav", {"format": "aiff"}, "no audio format 'aiff'"),
        ("missing/folder/a.wav", {}, "folder exists"),
    ],
)
def test_bad_targets(tmp_path, target, options, message):
    with pytest.raises(AudioError, match=message):
        stream(tmp_path / target, **options)
    assert not list(tmp_path.iterdir())


def test_format_names():
    assert FORMATS[:2] == ("wav", "raw")


def test_header_sizes_never_overflow():
    assert wav_header(RATE, 1 << 33) == wav_header(RATE, None)
    assert len(wav_header(RATE, 10)) == 44


PROGRAM = """
import numpy as np, sys
from pocket_tts_jax.audio.write import open_writer
try:
    with open_writer("-", 24000, format=sys.argv[1]) as writer:
        for _ in range(int(sys.argv[2])):
            writer.write(np.full(2400, 0.5, np.float32))
except BrokenPipeError:
    sys.stderr.write("broken pipe")
    sys.stderr.flush()
    import os
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
"""


def test_standard_output_as_pipe_file_and_appended(tmp_path):
    command = [sys.executable, "-c", PROGRAM, "wav", "3"]
    piped = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    assert piped[:44] == wav_header(RATE, None) and len(piped) == 44 + 3 * 4800
    path = tmp_path / "out.wav"
    with open(path, "wb") as file:
        subprocess.run(command, cwd=ROOT, stdout=file, check=True)
    assert path.read_bytes() == wav_header(RATE, 3 * 4800) + piped[44:]
    with open(path, "ab") as file:
        subprocess.run(command, cwd=ROOT, stdout=file, check=True)
    assert path.read_bytes() == wav_header(RATE, 3 * 4800) + piped[44:] + piped


def test_a_reader_that_leaves_early():
    command = [sys.executable, "-c", PROGRAM, "wav", "1000"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.read(44)[:4] == b"RIFF"
        child.stdout.close()
        assert child.stderr.read() == b"broken pipe"
    assert child.returncode == 0


@pytest.mark.reference
def test_wav_is_the_references_but_for_its_tail(tmp_path):
    pytest.importorskip("pocket_tts")
    import torch
    from pocket_tts.data.audio import stream_audio_chunks

    chunks = [torch.from_numpy(piece) for piece in np.array_split(speech() * 3, 5)]
    stream_audio_chunks(tmp_path / "theirs.wav", iter(chunks), RATE)
    with open_writer(tmp_path / "ours.wav", RATE, tail_seconds=0.2) as writer:
        for chunk in chunks:
            writer.write(chunk.numpy())
    assert (tmp_path / "ours.wav").read_bytes() == (tmp_path / "theirs.wav").read_bytes()
