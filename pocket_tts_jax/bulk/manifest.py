"""The manifest of a folder of speech: a line of JSON for each spoken row.

A line is appended after the row's audio is safe on disk, so that a run that was killed at any
moment is continued from what the manifest says: without a gap, because a row without a line is
spoken again, and without a repeat, because its audio then replaces what is there.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pocket_tts_jax.bulk.rows import Row
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.atomic import atomic_file, sync_folder

NAME = "manifest.jsonl"
_SETTINGS = "settings.json"


class Manifest:
    """The manifest of a folder, open for appending. Only one process may have it open.

    `entries` has the line of each spoken row by its id. A line whose audio is missing is dropped:
    `exists` tells whether a file of that name is there.
    """

    def __init__(self, folder: Path, present: Iterable[str]) -> None:
        self._path = folder / NAME
        files = set(present)
        lines, whole = _read(self._path)
        self.entries = {entry["id"]: entry for entry in lines if entry["file"] in files}
        if not whole or len(self.entries) != len(lines):
            with atomic_file(self._path) as file:
                file.write("".join(map(_line, self.entries.values())).encode())
            sync_folder(folder)
        self._file = open(self._path, "ab")

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append lines; they are on disk when this returns."""
        entries = list(entries)
        self._file.write("".join(map(_line, entries)).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries |= {entry["id"]: dict(entry) for entry in entries}

    def close(self) -> None:
        self._file.close()


def difference(entry: Mapping[str, Any], row: Row) -> str | None:
    """The field in which a row differs from its line in the manifest; None if it is that row."""
    wanted = {"text": row.text, "language": row.language, "seed": row.seed, "speed": row.speed}
    if row.voice is not None:
        wanted["voice"] = row.voice
    return next((name for name, value in wanted.items() if entry.get(name) != value), None)


def claim_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Note in a new folder by what it is spoken. Raises ConfigError for a folder that was begun
    with other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _SETTINGS
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        with atomic_file(path) as file:
            file.write((json.dumps(settings, indent=1, ensure_ascii=False) + "\n").encode())
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name, value in settings.items() if begun.get(name) != value]
    if differing:
        raise ConfigError(
            f"{folder} was begun with other settings, by {', '.join(differing)}: give the same "
            "options and the same model to go on with it, or another folder."
        )


def _read(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The entries, and whether the file ends with a whole line (or does not exist)."""
    if not path.exists():
        return [], True
    data = path.read_bytes()
    body, _, torn = data.rpartition(b"\n")
    try:
        entries = [json.loads(line) for line in body.splitlines()]
        if not all(isinstance(e["id"], str) and isinstance(e["file"], str) for e in entries):
            raise ValueError("a line has no id or no file")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}): mend the line, or give another folder."
        ) from error
    return entries, not torn


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
