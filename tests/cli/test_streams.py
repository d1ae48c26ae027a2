"""`generate` and the streams around it: players, pipes, and standard streams that are closed."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pocket_tts_jax.audio.play import PLAYERS, find_player
from tests.cli_stub import CHUNK, TAIL, StubModel, samples
from tests.cli_stub import run_cli as run
from tests.folders import ROOT
from tests.patience import PATIENCE

LONG = "word " * 12  # more speech than a pipe holds while nobody reads it


def install_player(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a shell script the only player there is."""
    player = folder / "bin" / "aplay"
    player.parent.mkdir()
    player.write_text(f"#!/bin/sh\n{script}\n")
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(player.parent))


def test_play(stub: StubModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install_player(f'/bin/cat > "{tmp_path}/heard.wav"', tmp_path, monkeypatch)
    assert run("generate", "hello", "--play").exit_code == 0
    heard = (tmp_path / "heard.wav").read_bytes()
    assert len(heard) == 44 + 2 * CHUNK
    assert not Path("tts_output.wav").exists()
    assert run("generate", "hello", "--play", "-o", "both.wav").exit_code == 0
    assert samples(Path("both.wav")) == CHUNK + TAIL


def test_play_reports_a_player_that_fails(
    stub: StubModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_player("/bin/cat >/dev/null; exit 3", tmp_path, monkeypatch)
    result = run("generate", "hello", "--play")
    assert result.exit_code == 1
    assert "aplay" in result.stderr and "3" in result.stderr


def test_play_without_a_player(stub: StubModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = run("generate", "hello", "--play")
    assert result.exit_code == 1 and "ffplay" in result.stderr
    for player in PLAYERS:
        assert find_player(lambda name, p=player: name if name == p.program else None) is player


@pytest.mark.parametrize("status", [0, 1])
def test_a_player_that_ends_at_once(
    stub: StubModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    """Status 1: no sound device. 0: its user closed it, which stops what nobody hears."""
    install_player(f"exit {status}", tmp_path, monkeypatch)
    result = run("generate", LONG, "--play", "--report", "r.json")
    assert result.exit_code == status
    assert ("aplay could not play" in result.stderr) == bool(status)
    assert Path("r.json").exists()


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_is_whole_though_the_player_ends(
    stub: StubModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str, status: int
) -> None:
    install_player(f"exit {status}", tmp_path, monkeypatch)
    result = run("generate", LONG, "--play", "-o", f"p.{suffix}")
    assert result.exit_code == status
    assert samples(Path(f"p.{suffix}")) == 12 * CHUNK + TAIL
    assert f"The player has ended; p.{suffix} is still being written." in result.stderr
    assert ("Error: aplay could not play" in result.stderr) == bool(status)


def test_a_reader_that_leaves_ends_the_player_too(
    stub: StubModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_player("exec /bin/cat >/dev/null", tmp_path, monkeypatch)
    os.mkfifo("pipe")
    reader = threading.Thread(target=lambda: open("pipe", "rb").close(), daemon=True)
    reader.start()
    result = run("generate", LONG, "--play", "-o", "pipe", "--format", "wav")
    reader.join()
    assert result.exit_code == 0 and "Error" not in result.stderr


@pytest.mark.parametrize("format", ["wav", "raw", "flac"])
def test_a_named_pipe(stub: StubModel, format: str) -> None:
    os.mkfifo("pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    result = run("generate", "hello", "-o", "pipe", "--format", format)
    assert result.exit_code == 0, result.stderr
    reader.join()
    piped = run("generate", "hello", "-o", "-", "--format", format).stdout_bytes
    assert got[0][:4] == piped[:4] and len(got[0]) == len(piped)
    assert got[0][-CHUNK:] == piped[-CHUNK:]  # before it: a WAV says no size in a pipe


def test_a_pipe_that_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    silent, writer = os.pipe()
    command = [sys.executable, "-c", PROGRAM, "generate", "-o", str(tmp_path / "a.wav")]
    done = subprocess.run(command, stdin=silent, cwd=ROOT, timeout=PATIENCE)
    os.close(silent)
    os.close(writer)
    assert done.returncode == 0 and samples(tmp_path / "a.wav") > CHUNK


def test_piped_text_is_utf8(stub: StubModel) -> None:
    result = run("generate", "-", input="\ufeffÜber\r\nuns".encode())
    assert result.exit_code == 0 and stub.stream["words"] == ["Über", "uns"]
    result = run("generate", "-", input="Über uns".encode("latin-1"))
    assert result.exit_code == 1
    assert "Error: Standard input is not UTF-8 text" in result.stderr


PROGRAM = """
from pocket_tts_jax import __main__ as program
from pocket_tts_jax.tts_model import TTSModel
from tests.cli_stub import StubModel
TTSModel.load_model = StubModel().load_model
program.main()
"""


@pytest.mark.parametrize(
    ("closed", "arguments", "message"),
    [
        (">&-", ["hello", "-o"], ""),
        (">&-", ["hello", "-o", "-"], "Error: Standard output is closed: name a file"),
        ("<&-", ["-"], "Error: Standard input is closed: write the text"),
    ],
)
def test_closed_streams(tmp_path: Path, closed: str, arguments: list[str], message: str) -> None:
    path = tmp_path / "ok.wav"
    if arguments[-1:] == ["-o"]:
        arguments = [*arguments, str(path)]
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-c", PROGRAM, "generate"]
    done = subprocess.run([*command, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == bool(message), done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert message or samples(path) == CHUNK + TAIL
