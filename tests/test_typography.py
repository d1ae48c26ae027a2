from pathlib import Path

import pytest

from pocket_tts_jax.tokenizer import load_tokenizer
from pocket_tts_jax.typography import fold_typography

TOKENIZER = load_tokenizer("tokenizers", Path(__file__).parent / "golden" / "marked.json", 600)


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
