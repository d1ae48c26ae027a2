"""What ends a process: signals, forks, limits and exits, each with the right end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import wave
from pathlib import Path

import pytest

from pocket_tts_jax.cli import signals
from tests.exported import tiny_export, tiny_model_folder
from tests.folders import ROOT
from tests.patience import PATIENCE
from tests.signals import SIGNALS, signals_reach_children

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX"),
]
LONG = "one two three. four five six. " * 500


def environment(cache: Path) -> dict[str, str]:
    return os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}


def generate(model: Path, cache: Path, *arguments: object) -> subprocess.Popen[str]:
    with signals_reach_children():
        return subprocess.Popen(
            [sys.executable, "-m", "pocket_tts_jax", "generate", LONG, "--model", str(model)]
            + [str(argument) for argument in arguments],
            env=environment(cache),
            cwd=cache,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.02)


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_speaking_finishes_the_files(tmp_path: Path, number: signal.Signals) -> None:
    path, report = tmp_path / "speech.wav", tmp_path / "report.json"
    process = generate(tiny_export(), tmp_path, "-o", path, "--report", report)
    wait_for(path, process)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number and "Traceback" not in errors
    with wave.open(str(path)) as file:
        frames = file.getnframes()
    data = path.read_bytes()  # tags stand in front of the samples
    assert frames > 0 and len(data) == data.index(b"data") + 8 + 2 * frames
    seed = json.loads(report.read_text())["seed"]
    assert f"Seed {seed}\n" in errors and f"--seed {seed} --first-chunk" in errors
    assert not unfinished(tmp_path)


def wait_until_signals_count(process: subprocess.Popen[str]) -> None:
    """Python itself ends on a signal, with a traceback, while it starts."""
    caught = Path(f"/proc/{process.pid}/status")
    while not int(caught.read_text().split("SigCgt:")[1].split()[0], 16) >> 14 & 1:  # SIGTERM
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux when signals are caught")
@pytest.mark.parametrize("delay", [0.0, 1.0, 3.0])
def test_a_signal_before_speech_leaves_nothing(tmp_path: Path, delay: float) -> None:
    """While modules are imported, and while XLA compiles."""
    path = tmp_path / "speech.wav"
    process = generate(tiny_model_folder(), tmp_path, "-o", path, "--engine", "jax")
    wait_until_signals_count(process)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and "Traceback" not in errors
    assert not unfinished(tmp_path)
    assert not path.exists() or path.stat().st_size > 44


def test_an_import_is_not_interrupted(tmp_path: Path) -> None:
    """Extension modules that are being created end the process at an exception."""
    (tmp_path / "imported.py").write_text(
        textwrap.dedent("""
            import time
            from pocket_tts_jax.cli import signals
            print("importing", flush=True)
            while not signals.stopping.is_set():
                time.sleep(0.01)
            for _ in range(20):
                time.sleep(0.01)
            print("imported", flush=True)
        """)
    )
    code = f"""
        import os, time
        from pocket_tts_jax.cli import signals

        def command():
            try:
                import imported
                while True:
                    time.sleep(0.01)
            except KeyboardInterrupt:
                print("interrupted", flush=True)

        signals._PATIENCE = {PATIENCE}
        os._exit(signals.run_until_signal(command, lambda: None))
    """
    with signals_reach_children():
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=environment(tmp_path),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdout is not None and process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    assert rest == "imported\ninterrupted\n" and process.returncode == 130


def test_quiet_is_quiet(tmp_path: Path) -> None:
    process = generate(tiny_export(), tmp_path, "-o", tmp_path / "a.wav", "--quiet")
    wait_for(tmp_path / "a.wav", process)
    process.terminate()
    assert process.communicate()[1] == ""


def test_a_report_that_fails_does_not_hide_the_first_error(tmp_path: Path) -> None:
    code = """
        from pathlib import Path
        from tests.cli_stub import StubModel, run_cli
        from pocket_tts_jax.errors import GenerationError
        from pocket_tts_jax.tts_model import TTSModel
        import pocket_tts_jax.cli.captions as captions

        def refused(path):
            raise OSError(28, "No space left on device")

        captions.atomic_file = refused
        TTSModel.load_model = StubModel(GenerationError("The first error.")).load_model
        print(run_cli("generate", "hello", "--report", "r.json").stderr)
        TTSModel.load_model = StubModel().load_model
        print(run_cli("generate", "hello", "--report", "r.json").stderr)
    """
    first, second = run(code, tmp_path).split("Seed ")[1:]
    assert "The first error." in first and "report" not in first
    assert "The report r.json cannot be written" in second


def run(code: str, folder: Path, *arguments: object, limits: str = "") -> str:
    """What a Python program prints that must end well. `limits` are of the shell's ulimit."""
    command = f'{limits}exec "$0" "$@"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SPEAK = """
    import sys
    from pocket_tts_jax import TTSModel
    from pocket_tts_jax.errors import TTSError
    try:
        model = TTSModel.load_model(model=sys.argv[1])
        voice = model.get_state_for_audio_prompt("tiny")
        print(abs(model.generate_audio(voice, "one two three.", seed=1)).sum())
    except TTSError as error:
        print("refused", error)
"""


@pytest.mark.parametrize("blocks", [0, 8, 100])
def test_a_limit_of_file_sizes_costs_the_cache_only(tmp_path: Path, blocks: int) -> None:
    """XNNPACK aborts where it cannot write packed weights: in a child."""
    expected = float(run(SPEAK, _made(tmp_path, "free"), tiny_export()))
    limited = run(SPEAK, _made(tmp_path, "limited"), tiny_export(), limits=f"ulimit -f {blocks}; ")
    # The limit holds for packed weights in memory too, which look like a file.
    assert limited.startswith("refused") or float(limited) == pytest.approx(expected, rel=1e-4)
    assert not unfinished(tmp_path)


def _made(folder: Path, name: str) -> Path:
    (folder / name).mkdir(exist_ok=True)
    return folder / name


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize("megabytes", [150, 250, 400, 800, 2000])
def test_little_memory_is_an_error_or_right_speech(tmp_path: Path, megabytes: int) -> None:
    answer = run(
        f"""
        import sys
        try:
            exec({textwrap.dedent(SPEAK)!r})
        except (MemoryError, ImportError, OSError) as error:
            print("refused", error)  # NumPy itself could not be loaded
        """,
        tmp_path,
        tiny_export(),
        limits=f"ulimit -v {megabytes * 1024}; ",
    )
    assert answer.startswith("refused") or float(answer) > 0


def test_a_malformed_graph_that_has_the_right_checksum(tmp_path: Path) -> None:
    """It ends the process that opens it first, which is not the user's."""
    from pocket_tts_jax.litert_engine.folder import MANIFEST
    from tests.faults.damage import damaged

    folder = Path(shutil.copytree(tiny_export(), tmp_path / "export"))
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    graph = folder / "mimi_decoder.tflite"
    original, manifest = graph.read_bytes(), json.loads((folder / MANIFEST).read_text())
    for data in damaged(original, "header", 6):
        graph.write_bytes(data)
        from pocket_tts_jax.files.verify import digest_of

        manifest["files"][graph.name] = {"size": len(data), "sha256": digest_of(graph)}
        (folder / MANIFEST).write_text(json.dumps(manifest))
        answer = run(SPEAK, _made(tmp_path, "cache"), folder)
        assert answer.startswith("refused") or float(answer) > 0


def test_a_fork_is_told_so(tmp_path: Path) -> None:
    code = """
        import os, sys, warnings
        from pocket_tts_jax import TTSModel
        from pocket_tts_jax.errors import GenerationError
        warnings.simplefilter("ignore")
        model = TTSModel.load_model(model=sys.argv[1])
        voice = model.get_state_for_audio_prompt("tiny")
        model.generate_audio(voice, "one.")
        child = os.fork()
        if child == 0:
            try:
                model.generate_audio(voice, "one.")
            except GenerationError as error:
                os._exit(0 if "forked" in str(error) else 2)
            os._exit(3)
        sys.exit(os.waitpid(child, 0)[1])
    """
    for model in (tiny_export(), tiny_model_folder()):
        run(code, tmp_path, model)


@pytest.mark.parametrize("seconds", [0.2, 1.5])
def test_a_script_may_end_while_something_compiles(tmp_path: Path, seconds: float) -> None:
    code = """
        import sys, threading, time
        from pocket_tts_jax import TTSModel
        model = TTSModel.load_model(model=sys.argv[1], compilation_cache=False)
        voice = model.get_state_for_audio_prompt("tiny")
        speak = lambda: model.generate_audio(voice, "one two three. " * 20)
        threading.Thread(target=speak, daemon=True).start()
        time.sleep(float(sys.argv[2]))
        print("ends")
    """
    assert run(code, tmp_path, tiny_model_folder(), seconds) == "ends\n"


def test_a_daemon_thread_that_computes_while_the_process_ends_does_not_go_on(
    tmp_path: Path,
) -> None:
    """Where it frees what C++ made, Python would stop it, and the process abort."""
    code = """
        import os, threading, time
        from pocket_tts_jax.generation.process import OwnProcess
        process, inside = OwnProcess(), threading.Event()

        def compute():
            with process:
                inside.set()
                time.sleep(0.5)
                os.write(1, b"computed ")
            os.write(1, b"came out")

        threading.Thread(target=compute, daemon=True).start()
        inside.wait()
        print("ends", end=" ", flush=True)
    """
    assert run(code, tmp_path) == "ends computed "


def test_the_first_signal_counts_and_is_not_inherited(tmp_path: Path) -> None:
    """Under nohup SIGHUP stays ignored."""
    code = """
        import os, signal, sys, threading
        from pocket_tts_jax.cli.signals import run_until_signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        def command():
            os.kill(os.getpid(), signal.SIGHUP)
        assert run_until_signal(command, lambda: None) is None
        def wait():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)
        cleaned = []
        assert run_until_signal(wait, lambda: cleaned.append(1)) == 143 and cleaned
        os._exit(0)
    """
    run(code, tmp_path)
    assert not signals.stopping.is_set()
