"""The sentences that models are judged by. They are fixed: figures can be compared over the years.

`held_out` are the first 200 held-out sentences of `training.data.sentences` with its default seed,
in whose style the models are trained. `new` are 100 sentences of everyday English that no data set
here contains; they are for reports, and not for choosing between models.
"""

import hashlib
from pathlib import Path

from training.errors import TrainingError

FOLDER = Path(__file__).parent / "lists"
# SHA-256 of the files. A changed list needs a new name.
LISTS = {
    "held_out": "d35d6c10a7dbd1381c92b6aa00192c03fd1e3b93318c7857bdb73ccf444e9012",
    "new": "ddfe6dbf6fef059504464a6a72f39d054e36b7e663a7a32bac6c1ab53673119f",
}


def fixed_sentences(name: str) -> list[str]:
    """The sentences of a fixed list. TrainingError if the file is not the one that was fixed."""
    path = FOLDER / f"{name}.txt"
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != LISTS[name]:
        raise TrainingError(f"{path} was changed: results would not compare. Restore it from git.")
    return content.decode().splitlines()


def read_lines(path: Path) -> list[str]:
    """The lines of a user's own list that are not empty. TrainingError if there are none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    if found := [line for line in lines if line.strip()]:
        return found
    raise TrainingError(f"{path} holds no sentence. Write one a line.")
