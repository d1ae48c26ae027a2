"""Commands: what users can mend is one line, other errors are not hidden, help is whole."""

import importlib
import re
import subprocess
import sys

import pytest

from pocket_tts_jax.errors import TextError
from tests.folders import ROOT
from training.command_line import command_parser, positive, run_command, with_progress

COMMANDS = [
    *("codec", "encode", "evaluate", "export", "finetune", "flow_lm", "frames", "mel_codec"),
    *("find_heads", "plot", "tokens", "word_times", "data.teacher", "data.sentences", "data.card"),
]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TextError("There is\nnothing."), "Error: There is nothing."),
        (FileNotFoundError(2, "No such file", "frames"), "frames: No such file"),
        (ModuleNotFoundError("no", name="onnx"), "pip install -r requirements/teacher.txt"),
        (ModuleNotFoundError("no", name="jiwer"), "pip install -r requirements/judge.txt"),
        (ModuleNotFoundError("no", name="optax.contrib"), 'pip install -e ".[train]"'),
    ],
)
def test_what_users_can_mend_is_one_line(error, said, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        run_command(main)
    written = capsys.readouterr().err
    assert ended.value.code == 1 and said in written and written.count("\n") == 1


@pytest.mark.parametrize("error", [KeyError("x"), ModuleNotFoundError("no", name="nothing")])
def test_errors_of_the_program_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        run_command(main)


def test_ctrl_c_outside_a_run_is_one_line(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == 130 and capsys.readouterr().err == "Interrupted.\n"


def test_help_shows_the_defaults_that_there_are():
    parser = command_parser("What it does,\nin a line.\n\nMore.")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--out", required=True, help="folder")
    parser.add_argument("--voice", help="a name")
    text = parser.format_help()
    assert "What it does, in a line." in text and "More" not in text
    assert "of training (default: 300)" in text and "None" not in text


def test_progress_says_how_many_are_done(capsys):
    assert list(with_progress("abc", "spoken")) == ["a", "b", "c"]
    said = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"spoken: 1 of 3, \d+:\d\d:\d\d left", said[0])
    assert said[-1] == "spoken: 3 of 3, 0:00:00 left"


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many"])
def test_what_is_counted_is_above_zero(number, capsys):
    parser = command_parser("What it does.")
    parser.add_argument("--rows", type=positive)
    with pytest.raises(SystemExit):
        parser.parse_args(["--rows", number])
    assert f"{number!r} is no whole number above 0" in capsys.readouterr().err
    assert parser.parse_args(["--rows", "12"]).rows == 12


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_explained(name, monkeypatch, capsys):
    command = importlib.import_module(f"training.{name}")
    actions = [[name, "--help"]]
    if name == "mel_codec":
        actions = [[name, "train", "--help"], [name, "encode", "--help"]]
    for arguments in actions:
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit):
            command.main()
        lines = capsys.readouterr().out.splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("  --"):  # the help stands beside, or on the next line
                assert "  " in line.strip() or after.startswith(" " * 10), line


def test_training_without_its_packages_is_one_line():
    script = (
        "import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda n, *a: None if n == 'optax' else find(n, *a); import training.frames"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert 'training needs optax. Run in the checkout: pip install -e ".[train]"' in result.stderr
