"""The reference of the command line, written by typer from the commands themselves."""

import re
import subprocess
import sys
from pathlib import Path

NAME = "pocket-tts-jax"
ITEM = re.compile(r"^\* (`[^`]+`): (.*)$", re.MULTILINE)


def command_line() -> str:
    """Markdown: a section for each command, with a table of its arguments and options."""
    command = [sys.executable, "-m", "typer", "pocket_tts_jax.cli.app", "utils", "docs"]
    text = subprocess.run(
        [*command, "--name", NAME],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
    ).stdout
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    if not sections:
        raise RuntimeError(f"typer wrote no section for a command of {NAME}: {text!r}")
    return "\n".join(f"## {_tables(section)}" for section in sections)


def _tables(section: str) -> str:
    section = section.replace(f"`{NAME} ", "`", 1).replace("```console\n$ ", "```text\n")
    section = re.sub(r"^\* `--help`.*\n", "", section, flags=re.MULTILINE)
    section = re.sub(r"\*\*(Usage|Options|Arguments|Commands)\*\*:\n", _head, section)
    return ITEM.sub(_row, section)


def _head(found: re.Match[str]) -> str:
    title = found[1]
    return "" if title == "Usage" else f"| {title.lower()} | |\n|---|---|"


def _row(found: re.Match[str]) -> str:
    name, text = (part.replace("|", "\\|") for part in found.groups())
    text = re.sub(r"(?<![\w`-])(--?[a-z][a-z-]*)", r"`\1`", text)
    return f"| {name} | {text} |"
