"""Kill and starve: `python -m tests.faults.kills --export DIR --kills 100 --exports 5 --full 40`.

A process that speaks with an export of the tiny model is killed (SIGKILL) at a random moment, with
cold caches: while it packs weights, encodes a recording, or writes audio. The next one must speak
as ever and leave nothing behind. An export into the cache is killed, now with the exporter, now
without: the next one must come to its end and speak. Then the disk is full from the 1st, 2nd, …
write on: an error of this package, or right speech. Exit status 1 where anything else came.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from pocket_tts_jax.testing.tiny_model import write_model
from tests.folders import ROOT

TEXT = "one two three. four five six. " * 8
SHIM = Path(__file__).with_name("full_disk.c")
EXPORT_SECONDS = 60.0  # about as long as an export of the tiny model takes


def command(export: Path, folder: Path, **settings: str) -> subprocess.Popen[str]:
    """Speak with the voice of a recording into a file of `folder`, which has the caches too."""
    return subprocess.Popen(
        [sys.executable, "-m", "pocket_tts_jax", "generate", TEXT, "--model", str(export)]
        + ["--voice", str(folder / "me.wav"), "-o", str(folder / "out.wav"), "--seed", "1"]
        + ["--max-tokens", "8", "--report", str(folder / "report.json")],
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")} | settings,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def speak(export: Path, folder: Path) -> bytes:
    """The audio of an undisturbed run, and nothing left unfinished."""
    process = command(export, folder)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    left = [path for path in folder.rglob("*") if path.name.endswith(".part")]
    assert not left, left
    return (folder / "out.wav").read_bytes()


def new_folder(place: Path, name: str) -> Path:
    folder = place / name
    folder.mkdir()
    time_line = np.arange(12000) / 24000
    voice = 0.4 * np.sin(2 * np.pi * 220 * time_line) * (1 + np.sin(20 * time_line))
    soundfile.write(folder / "me.wav", voice.astype(np.float32) / 2, 24000)
    return folder


def killed(export: Path, place: Path, number: int, seconds: float, expected: bytes) -> str:
    """One kill within `seconds`, and the run after it."""
    folder = new_folder(place, f"kill{number}")
    process = command(export, folder)
    time.sleep(random.Random(number).uniform(0.0, seconds))
    process.kill()
    process.communicate()
    time.sleep(0.5)  # a child that packs may still be writing
    right = speak(export, folder) == expected
    shutil.rmtree(folder)
    return "right" if right else "wrong"


def export_killed(place: Path, number: int, seconds: float) -> str:
    """One kill within `seconds` of making an export, then the export and speech from it."""
    folder = place / f"export{number}"
    model = write_model(folder / "model")

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pocket_tts_jax", *arguments, "--model", str(model)],
            env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    process = start("export")
    time.sleep(random.Random(number).uniform(0.0, seconds))
    if number % 2:
        process.kill()  # the exporter goes on without it
    else:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stderr is not None
    process.stderr.close()
    process.wait()
    for arguments in (["export"], ["generate", TEXT, "-o", str(folder / "out.wav")]):
        process = start(*arguments)
        errors = process.communicate()[1]
        if process.returncode:
            return f"{arguments[0]} ended with {process.returncode}: {errors[-300:]}"
    left = [path for path in folder.rglob("*") if path.name.endswith(".part")]
    result = "right" if "litert" in errors and not left else f"wrong: {errors[-300:]} {left}"
    shutil.rmtree(folder)
    return result


def starved(export: Path, place: Path, shim: Path, after: int, expected: bytes) -> str:
    """One run on a disk that is full from a write on, and the run after it."""
    folder = new_folder(place, f"full{after}")
    process = command(export, folder, LD_PRELOAD=str(shim), FULL_AFTER=str(after))
    errors = process.communicate()[1]
    audio = folder / "out.wav"
    if process.returncode == 0:
        result = "spoke" if audio.read_bytes() == expected else "wrong"
    elif process.returncode == 1 and "Error: " in errors and "Traceback" not in errors:
        result = "refused"
    else:
        result = f"ended with {process.returncode}: {errors[-300:]}"
    if speak(export, folder) != expected:
        result = f"wrong afterwards, {result}"
    shutil.rmtree(folder)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--exports", type=int, default=5, help="kills of an export, a minute each")
    parser.add_argument("--full", type=int, default=40)
    args = parser.parse_args()
    results: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        start = time.monotonic()
        expected = speak(args.export, new_folder(place, "first"))
        seconds = time.monotonic() - start
        shim = place / "full_disk.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, SHIM, "-ldl"], check=True)
        for number in range(args.kills):
            result = "kill: " + killed(args.export, place, number, seconds, expected)
            results[result] = results.get(result, 0) + 1
        for number in range(args.exports):
            result = "export: " + export_killed(place, number, EXPORT_SECONDS)
            results[result] = results.get(result, 0) + 1
        for after in range(args.full):
            result = "full disk: " + starved(args.export, place, shim, after, expected)
            results[result] = results.get(result, 0) + 1
    for result, count in sorted(results.items()):
        print(f"{count:4} {result}")
    right = {"kill: right", "export: right", "full disk: spoke", "full disk: refused"}
    sys.exit(bool(set(results) - right))


if __name__ == "__main__":
    main()
