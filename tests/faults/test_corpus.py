"""Every file that was no clear error once is one now, or is read as what it is, and soon."""

import shutil
import time
from pathlib import Path

import pytest

from pocket_tts_jax.errors import TTSError
from tests.faults.corpus import CORPUS, READERS

FILES = sorted(path for path in CORPUS.glob("[0-9]*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_a_clear_error_or_right(path: Path, tmp_path: Path) -> None:
    name = path.name.partition("-")[2]
    copy = Path(shutil.copy(path, tmp_path / name))
    start = time.process_time()
    try:
        READERS[name](copy)
    except TTSError as error:
        assert 20 < len(str(error)) < 5000
    assert time.process_time() - start < 20  # it took for ever once; this is no measurement


def test_the_corpus_is_here() -> None:
    assert len(FILES) > 30 and {path.name.partition("-")[2] for path in FILES} == set(READERS)
