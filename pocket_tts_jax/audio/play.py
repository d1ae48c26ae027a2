"""Plays speech while it is made, with an installed player."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pocket_tts_jax.audio.write import RawWriter, Writer, open_writer, wav_header
from pocket_tts_jax.errors import AudioError


@dataclass(frozen=True)
class Player:
    """A program that plays WAV from its standard input or from a file."""

    program: str
    arguments: tuple[str, ...]
    reads_stdin: bool = True
    format: str = "wav"


_RAW = ("--raw", "--rate={rate}", "--channels=1", "--format=s16le")
PLAYERS = (
    Player("ffplay", ("-nodisp", "-autoexit", "-loglevel", "quiet", "-i", "-")),
    Player("mpv", ("--really-quiet", "--no-video", "-")),
    Player("aplay", ("-q", "-")),
    Player("paplay", _RAW, format="raw"),
    Player("play", ("-q", "-t", "wav", "-")),  # of SoX
    Player("afplay", (), reads_stdin=False),
)


def find_player(which: Callable[[str], str | None] = shutil.which) -> Player:
    """The first player of PLAYERS that is installed. Raises AudioError if none is."""
    for player in PLAYERS:
        if which(player.program):
            return player
    names = ", ".join(player.program for player in PLAYERS)
    raise AudioError(
        f"There is no program to play audio with (looked for {names}). Install one, or write a "
        "file with -o FILE."
    )


@contextmanager
def playing(player: Player, rate: int) -> Iterator[Writer]:
    """A writer that plays its samples; the end of the block waits for the end of playing.

    Writing raises BrokenPipeError once the player has ended, because it was closed or failed. Catch
    that inside the block: the end of the block raises AudioError if the player failed.
    """
    with _streaming(player, rate) if player.reads_stdin else _afterwards(player, rate) as writer:
        yield writer


@contextmanager
def _streaming(player: Player, rate: int) -> Iterator[Writer]:
    arguments = [argument.format(rate=rate) for argument in player.arguments]
    process = subprocess.Popen([player.program, *arguments], stdin=subprocess.PIPE)
    pipe = cast(BinaryIO, process.stdin)
    try:
        if player.format == "wav":
            pipe.write(wav_header(rate, None))  # buffered until the first samples
        yield RawWriter(pipe, rate)
        with suppress(BrokenPipeError):  # the exit status is checked below
            pipe.close()
        _check(player, process.wait())
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        with suppress(BrokenPipeError):
            pipe.close()


@contextmanager
def _afterwards(player: Player, rate: int) -> Iterator[Writer]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        with open_writer(path, rate) as writer:
            yield writer
        _check(player, subprocess.run([player.program, *player.arguments, str(path)]).returncode)


def _check(player: Player, status: int) -> None:
    if status != 0:
        raise AudioError(
            f"{player.program} could not play the speech (exit status {status}). Is a sound device "
            "there? Write a file with -o FILE instead."
        )
