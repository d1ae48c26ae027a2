"""Places that audio is written to that are no files."""

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from pocket_tts_jax.audio.sink import open_sink
from pocket_tts_jax.errors import AudioError

TERMINAL = "not written to a terminal: pipe it to a player or a file"


def write(target: str | Path, data: bytes = b"abc", in_place: bool = False) -> None:
    with open_sink(target, in_place) as file:
        file.write(data)


def test_devices_are_written_to_not_replaced():
    write(os.devnull)
    assert not os.path.isfile(os.devnull)


@pytest.mark.parametrize("in_place", [False, True])
def test_named_pipes(tmp_path, in_place):
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(
        target=lambda: got.append((tmp_path / "pipe").read_bytes()), daemon=True
    )
    reader.start()
    write(tmp_path / "pipe", in_place=in_place)
    reader.join()
    assert got == [b"abc"] and (tmp_path / "pipe").is_fifo()


def test_a_reader_of_a_named_pipe_that_leaves_early(tmp_path):
    """While it is written, and again when it is closed with what could not be written."""
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: open(tmp_path / "pipe", "rb").close(), daemon=True)
    reader.start()
    with pytest.raises(BrokenPipeError), open_sink(tmp_path / "pipe", False) as file:
        reader.join()
        file.write(b"abc")
        file.flush()


def test_the_terminal_is_spared(monkeypatch):
    class Terminal(io.BytesIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Terminal()))
    with pytest.raises(AudioError, match=TERMINAL):
        write("-")


def test_a_terminal_by_its_name():
    leader, follower = os.openpty()
    try:
        with pytest.raises(AudioError, match=TERMINAL):
            write(os.ttyname(follower))
    finally:
        os.close(leader)
        os.close(follower)


def test_standard_output_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(AudioError, match="Standard output is closed: name a file"):
        write("-")
