"""Reads untrusted documents within limits: only regular files of a bounded size and depth."""

import json
import os
import stat
from pathlib import Path
from typing import Any

LARGEST_JSON = 64 << 20  # bytes; a lexicon of a million terms, or an export's manifest
LARGEST_YAML = 1 << 20
_DEEPEST_YAML = 50  # PyYAML takes quadratic time over nested brackets


def check_regular(path: Path) -> os.stat_result:
    """The state of a regular file.

    Raises OSError for a missing file, and for a folder, pipe, socket or device, which might block
    or never end.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(state.st_mode), "a device")
        raise OSError(f"it is {kind}, not a file")
    return state


def read_text(path: Path, largest: int, encoding: str = "utf-8") -> str:
    """The text of a regular file. Raises OSError, and ValueError if it is too large or not
    UTF-8."""
    size = check_regular(path).st_size
    if size > largest:
        raise ValueError(f"it has {size >> 20} MiB, more than {largest >> 20}")
    with open(path, "rb") as file:
        return file.read(largest).decode(encoding)


def parse_json(text: str, **options: Any) -> Any:
    """`json.loads`. Raises ValueError for any error, including too deep nesting."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """YAML as plain Python values. Raises ValueError for any error."""
    import yaml

    deepest = depth = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST_YAML:
        raise ValueError("it is nested too deeply")
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as error:  # PyYAML raises many kinds, as for impossible dates
        raise ValueError(str(error) or type(error).__name__) from error
