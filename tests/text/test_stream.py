"""Text in pieces becomes what the whole text becomes, as soon as it can."""

import json
import random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.lexicon import Lexicon
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.pipeline import Cutter, Item, TextOptions, iter_prompts
from pocket_tts_jax.text.prepare import Prompt, TextRules
from pocket_tts_jax.text.stream import TextStream, iter_pieces
from pocket_tts_jax.text.tokenizer import Tokenizer, load_tokenizer
from pocket_tts_jax.weights.source import ModelSource, open_source
from tests.folders import GOLDEN
from tests.text.test_prepare import ANY_RULES, ANY_TOKENIZER, RECORDED, RULES, TOKENIZERS, WORDS

SENTENCES = [
    "The stove was small.",
    "Why not?",
    "5. 6 people saw it, and 3.14 is near.",
    "He left; she stayed...",
    "“Come in,” she said.",
    "(An aside!)",
    "Nobody, not even the captain, knew its name,",
    '"Hi?", she said.',
    "Ünder the bridge\nit was dark.",
    "日本。 3.5.",
    "Dr. Smith came on May 5, 2020, at 3 p.m. sharp.",
    "It cost $5.50 – no, 5% more.",
    "on and on and on and on and on and on and on and on",
]
PROSE = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=20).map(" ".join)
OPTIONS = st.builds(
    TextOptions,
    normalize=st.booleans(),
    plain_typography=st.booleans(),
    glue_short_chunks=st.booleans(),
    cut_at_words=st.booleans(),
    early_start=st.booleans(),
)


def source_of(rules: TextRules, max_tokens: int = 50) -> ModelSource:
    mimi = SimpleNamespace(frame_rate=12.5, sample_rate=24000)
    config = SimpleNamespace(**vars(rules), mimi=mimi)
    limits = SimpleNamespace(max_tokens=max_tokens, normalize=False)
    return cast(ModelSource, SimpleNamespace(name="test", config=config, settings=limits))


def pieces_of(text: str, seed: int, longest: int = 7) -> list[str]:
    draw, pieces, start = random.Random(seed), [], 0
    while start < len(text):
        end = start + draw.randint(1, longest)
        pieces.append(text[start:end])
        start = end
    return pieces


def fed(items: Any) -> list[Any]:
    """What the model is fed: the names that chunks go by in reports may differ in a capital."""
    return [item.ids if isinstance(item, Prompt) else item for item in items]


def whole(text: str, cutter: Cutter) -> list[Any]:
    return fed(cutter.items(text, warn=False))


@given(PROSE, ANY_RULES, ANY_TOKENIZER, OPTIONS, st.integers(5, 60), st.integers(0, 99))
@settings(max_examples=80)
def test_pieces_change_nothing(
    text: str,
    rules: TextRules,
    tokenizer: Tokenizer,
    options: TextOptions,
    max_tokens: int,
    seed: int,
) -> None:
    cutter = Cutter(tokenizer, source_of(rules), options, max_tokens)
    assert fed(iter_pieces(pieces_of(text, seed), cutter)) == whole(text, cutter)


def test_recorded_texts_in_pieces() -> None:
    for case in RECORDED["cases"]:
        tokenizer, rules = TOKENIZERS[case["tokenizer"]], RULES[case["rules"]]
        cutter = Cutter(tokenizer, source_of(rules), None, case["max_tokens"])
        try:
            expected = whole(case["text"], cutter)
        except TextError:
            expected = []
        try:
            got = fed(iter_pieces(pieces_of(case["text"], 1), cutter))
        except TextError:
            got = []
        assert got == expected, case["text"]


@pytest.fixture(scope="module")
def embedded() -> tuple[Tokenizer, ModelSource]:
    source = open_source()
    bins = source.config.flow_lm.lookup_table.n_bins
    return load_tokenizer(source.tokenizer_kind, source.tokenizer, bins), source


def test_numbers_in_pieces(embedded: tuple[Tokenizer, ModelSource]) -> None:
    """The embedded voice reads numbers as words, and what follows decides how."""
    texts = [case["text"] for case in json.loads((GOLDEN / "normalize.json").read_text())["en"]]
    text = " ".join(f"{text.rstrip('.')}." for text in texts[:120])
    for options in (TextOptions(), TextOptions(early_start=True)):
        cutter = Cutter(*embedded, options)
        assert fed(iter_pieces(pieces_of(text, 3), cutter)) == whole(text, cutter)


def test_lexicon_and_pauses_in_pieces(embedded: tuple[Tokenizer, ModelSource]) -> None:
    lexicon = Lexicon({"nginx": "engine x", "St. John": "Sinjin"})
    options = TextOptions(lexicon=lexicon, pauses=True)
    cutter = Cutter(*embedded, options)
    text = 'We use nginx. [pause:0.5] St. John said so. <break time="500ms" /> Good. [pause:1]'
    expected = whole(text, cutter)
    assert sum(isinstance(item, Pause) for item in expected) == 3
    for longest in (1, 4, 20):
        assert fed(iter_pieces(pieces_of(text, longest, longest), cutter)) == expected


def stream(max_tokens: int = 50, **options: bool) -> TextStream:
    return TextStream(Cutter(WORDS, source_of(TextRules()), TextOptions(**options), max_tokens))


def texts(items: Any) -> list[str]:
    return [item.text for item in items]


def test_chunks_leave_early() -> None:
    text = "It was cold. We read all day. The stove was small. Nobody came to see us."
    pieces = stream(14)
    arrived = {
        item.text: end for end in range(len(text)) for item in pieces.feed(text[end])  # type: ignore
    }
    assert arrived == {"It was cold. We read all day.": text.index(" came")}
    assert texts(pieces.flush()) == ["The stove was small.", "Nobody came to see us."]


def test_early_start_lets_the_first_clause_leave() -> None:
    pieces = stream(early_start=True)
    assert texts(pieces.feed("Yes, it was cold all day, and ")) == []
    assert texts(pieces.feed("so ")) == []
    pieces = stream(early_start=True)
    assert texts(pieces.feed("It was cold all day, and ")) == ["It was cold all day,"]
    assert texts(pieces.feed("we read all day, and so on. And then ")) == []
    assert texts(pieces.flush()) == ["And we read all day, and so on. And then."]
    assert texts(pieces.feed("We read all day. The ")) == ["We read all day."]
    assert texts(pieces.flush()) == ["The."]


def test_early_start_of_whole_texts() -> None:
    def chunks(text: str) -> list[str]:
        options = TextOptions(early_start=True)
        return texts(iter_prompts(text, WORDS, source_of(TextRules()), options))

    assert chunks("Yes. No. It was cold all day, and so on.") == [
        "Yes. No. It was cold all day,",
        "And so on.",
    ]
    assert chunks("Why not? It was cold.") == ["Why not? It was cold."]
    assert chunks("Why not now? It was cold.") == ["Why not now?", "It was cold."]
    assert chunks("Yes.") == ["Yes."]


def test_flush_begins_anew() -> None:
    pieces = stream()
    assert texts(pieces.feed("we read all d")) == []
    assert texts(pieces.flush()) == ["We read all d."]
    assert texts(pieces.feed("ay. then")) == []
    assert texts(pieces.flush()) == ["Ay. then."]
    assert pieces.flush() == []
    assert texts(pieces.feed("  \n")) == [] and pieces.flush() == []


def test_nothing_to_speak_is_told_at_the_end() -> None:
    cutter = Cutter(WORDS, source_of(TextRules()))
    with pytest.raises(TextError, match="nothing to speak"):
        list(iter_pieces(["  ", "\n"], cutter))
    with pytest.raises(TextError):
        list(iter_pieces([], cutter))


def test_items_come_one_by_one_from_a_long_piece() -> None:
    class Counted(Cutter):
        calls = 0

        def items(self, *args: Any, **options: Any) -> Any:
            self.calls += 1
            return super().items(*args, **options)

    cutter = Counted(WORDS, source_of(TextRules()), TextOptions(early_start=True))
    first: Item = next(iter_pieces([" ".join(SENTENCES[:7]) * 20], cutter))
    assert isinstance(first, Prompt) and cutter.calls < 10


def test_work_stays_flat() -> None:
    class Watched:
        n_bins = WORDS.n_bins
        longest = total = 0

        def encode(self, text: str) -> list[int]:
            self.longest = max(self.longest, len(text))
            self.total += len(text)
            return WORDS.encode(text)

        def decode(self, ids: Any) -> str:
            return WORDS.decode(ids)

    watched = Watched()
    cutter = Cutter(watched, source_of(TextRules()))
    text = " ".join(SENTENCES[:7]) + " "
    chunks = fed(iter_pieces(pieces_of(text * 40, 5), cutter))
    assert watched.longest < 600
    assert watched.total < 40 * 40 * len(text)
    assert chunks == whole(text * 40, Cutter(WORDS, source_of(TextRules())))
