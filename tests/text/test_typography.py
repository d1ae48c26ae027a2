import re
from itertools import product

import pytest

from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.text.typography import _LONG_DASH, fold_typography
from tests.folders import GOLDEN

TOKENIZER = load_tokenizer("tokenizers", GOLDEN / "marked.json", 600)


@pytest.mark.parametrize(
    ("fancy", "plain"),
    [
        ("we’ve", "we've"),
        ("‘single’ and ‚low‘", "'single' and 'low'"),
        ("“double” and „low“ and «angle»", '"double" and "low" and "angle"'),
        ("10–20", "10-20"),
        ("well‑known", "well-known"),
        ("−5", "-5"),
        ("one—two — three", "one - two - three"),
        ("wait…", "wait..."),
        ("12\u00a0km and\u202f5\u2009%", "12 km and 5 %"),
        ("in\u00advisi\u200bble\ufeff", "invisible"),
        ("eﬃcient ﬁne ﬂow", "efficient fine flow"),
    ],
)
def test_typographic_characters_give_the_ids_of_plain_ones(fancy: str, plain: str) -> None:
    assert fold_typography(fancy) == plain
    assert TOKENIZER.encode(fold_typography(fancy)) == TOKENIZER.encode(plain)
    assert TOKENIZER.encode(fancy) != TOKENIZER.encode(plain)


def test_plain_text_and_other_scripts_are_untouched() -> None:
    text = "It's \"fine\" - isn't it? Привет, 日本。 é\n"
    assert fold_typography(text) == text


def test_long_dashes_take_all_white_space_around_them() -> None:
    plainly = re.compile(r"\s*[—―]\s*")
    for length in range(7):
        for letters in product(" \n—a", repeat=length):
            text = "".join(letters)
            assert _LONG_DASH.sub("-", text) == plainly.sub("-", text)


def test_white_space_is_looked_at_once() -> None:
    """Where a search fails at the start of a run, it is not tried again from inside the run: that
    would take time that grows with the square of the run's length."""
    run = " " * 9 + "—"
    assert [place for place in range(10) if _LONG_DASH.match(run, place)] == [0, 9]
