"""Text in pieces becomes what the whole text becomes, as soon as it can."""

# pyright: reportArgumentType=false
# The stubs have those parts of a tokenizer that the chunks need.

import json
import random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.text.lexicon import Lexicon
from pocket_tts_jax.text.pipeline import Cutter, TextOptions, iter_prompts
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
    config = SimpleNamespace(**vars(rules), mimi=mimi, model_recommended_frames_after_eos=None)
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
    try:
        return fed(cutter.items(text))
    except TextError:
        return []


def in_pieces(text: str, cutter: Cutter, seed: int, longest: int = 7) -> list[Any]:
    try:
        return fed(iter_pieces(pieces_of(text, seed, longest), cutter))
    except TextError:
        return []


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
    assert in_pieces(text, cutter, seed) == whole(text, cutter)


def test_recorded_texts_in_pieces() -> None:
    for case in RECORDED["cases"]:
        tokenizer, rules = TOKENIZERS[case["tokenizer"]], RULES[case["rules"]]
        cutter = Cutter(tokenizer, source_of(rules), None, case["max_tokens"])
        assert in_pieces(case["text"], cutter, 1) == whole(case["text"], cutter), case["text"]


@pytest.fixture(scope="module")
def embedded() -> tuple[Tokenizer, ModelSource]:
    source = open_source()
    bins = source.config.flow_lm.lookup_table.n_bins
    return load_tokenizer(source.tokenizer_kind, source.tokenizer, bins), source


def test_numbers_in_pieces(embedded: tuple[Tokenizer, ModelSource]) -> None:
    """The embedded voice reads numbers as words, and what follows decides how."""
    texts = list(json.loads((GOLDEN / "normalize.json").read_text())["english"])
    text = " ".join(f"{text.rstrip('.')}." for text in texts[:120])
    for options in (TextOptions(), TextOptions(early_start=True)):
        cutter = Cutter(*embedded, options)
        assert in_pieces(text, cutter, 3) == whole(text, cutter)


@pytest.mark.parametrize("longest", [1, 4, 20, 500])
def test_lexicon_and_pauses_in_pieces(
    embedded: tuple[Tokenizer, ModelSource], longest: int
) -> None:
    lexicon = Lexicon({"nginx": "engine x", "St. John": "Sinjin"})
    cutter = Cutter(*embedded, TextOptions(lexicon=lexicon, pauses=True))
    for text in (
        'We use nginx. [pause:0.5] St. John said so <break time="500ms" />. Good. [pause:1]',
        "[pause:1] One, two [pause:1] [pause:2] -- [pause: 3 ms], three < four [p.",
        "No marks [at all] here <3.",
    ):
        expected = whole(text.replace("[pause: 3 ms]", "[pause:3ms]"), cutter)
        text = text.replace("[pause: 3 ms]", "[pause:3ms]")
        assert expected and in_pieces(text, cutter, longest, longest) == expected


def test_names_are_what_was_written(embedded: tuple[Tokenizer, ModelSource]) -> None:
    """The tokenizer of the embedded voice has phonemes for letters."""
    text = "Well, I think that Dr. Smith paid $5 for it. Nobody knew why he did that. " * 3
    for options in (TextOptions(), TextOptions(early_start=True)):
        cutter = Cutter(*embedded, options)
        names = [item.text for item in iter_pieces(pieces_of(text, 2), cutter)]  # type: ignore
        assert names == [item.text for item in cutter.items(text)]  # type: ignore
        assert "Doctor Smith paid five dollars" in " ".join(names)


@pytest.mark.parametrize("early_start", [False, True])
def test_words_are_those_of_the_whole(
    embedded: tuple[Tokenizer, ModelSource], early_start: bool
) -> None:
    text = (
        'Well, I think Dr. Smith paid $5.50 for "No. 5". [pause:0.5] On May 5, 2020 he left. ' * 3
    )
    options = TextOptions(early_start=early_start, pauses=True)
    expected = [
        item.words if isinstance(item, Prompt) else item
        for item in iter_prompts(text, *embedded, options, words=True)
    ]
    for longest in (1, 7, 90):
        pieces = iter_pieces(pieces_of(text, 3, longest), Cutter(*embedded, options), words=True)
        got = [item.words if isinstance(item, Prompt) else item for item in pieces]
        assert got == expected


def begun(text: str, early_start: bool = False) -> list[str]:
    """The chunks that leave while the text is still coming."""
    got: list[str] = []

    def pieces() -> Any:
        yield text
        raise EOFError

    cutter = Cutter(WORDS, source_of(TextRules()), TextOptions(early_start=early_start), 14)
    with pytest.raises(EOFError):
        for item in iter_pieces(pieces(), cutter):
            assert isinstance(item, Prompt)
            got.append(item.text)
    return got


def test_chunks_leave_early() -> None:
    text = "It was cold. We read all day. The stove was small. Nobody came to see us."
    assert begun(text[: text.index("Nobody") + 1]) == ["It was cold. We read all day."]
    assert begun(text[: text.index("Nobody")]) == []


def test_early_start_lets_the_first_clause_leave() -> None:
    assert begun("Yes, it was cold, and", early_start=True) == ["Yes, it was cold."]
    assert begun("Yes, it was cold,", early_start=True) == []
    assert begun("It was cold. And", early_start=True) == []
    assert begun("Yes, it was cold, and", early_start=False) == []


def test_early_start_of_whole_texts() -> None:
    def chunks(text: str) -> list[str]:
        options = TextOptions(early_start=True)
        items = iter_prompts(text, WORDS, source_of(TextRules()), options)
        return [item.text for item in items if isinstance(item, Prompt)]

    assert chunks("Yes. No. It was cold all day, and so on.") == [
        "Yes. No. It was cold all day.",
        "And so on.",
    ]
    assert chunks("Why not? It was.") == ["Why not? It was."]
    assert chunks("Why not right now? It was cold.") == ["Why not right now?", "It was cold."]
    assert chunks("Yes.") == ["Yes."]


@pytest.mark.parametrize("options", [TextOptions(), TextOptions(early_start=True)])
def test_nothing_to_speak_is_told_at_the_end(options: TextOptions) -> None:
    cutter = Cutter(WORDS, source_of(TextRules()), options)
    for pieces in ([], ["  ", "\n"], [""]):
        with pytest.raises(TextError, match="nothing to speak"):
            list(iter_pieces(pieces, cutter))


def test_stream_begins_anew_after_a_flush() -> None:
    pieces = TextStream(WORDS, TextRules(), 50)
    assert pieces.feed("we read all d") == []
    assert pieces.flush() == ["We read all d."]
    assert pieces.feed("ay. then") == []
    assert pieces.flush() == ["Ay. then."]
    assert pieces.flush() == []
    assert pieces.feed("  \n") == [] and pieces.flush() == []


def test_memory_and_work_stay_flat() -> None:
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
    text = " ".join(SENTENCES[:7]) + " "
    cutter = Cutter(watched, source_of(TextRules()))
    chunks = in_pieces(text * 40, cutter, 5)
    assert chunks == whole(text * 40, Cutter(WORDS, source_of(TextRules())))
    assert watched.longest < 400
    assert watched.total < 6 * 40 * len(text)


def test_tokenizer_that_reaches_across_spaces() -> None:
    class Phrases:
        """Knows one token, and it takes words and spaces alike."""

        n_bins = 2

        def encode(self, text: str) -> list[int]:
            return [1] if text else []

        def decode(self, ids: Any) -> str:
            return "x" * len(ids)

    with pytest.raises(ConfigError, match="whole text"):
        TextStream(Phrases(), TextRules(), 50)
    with pytest.raises(ConfigError, match="at least 1"):
        TextStream(WORDS, TextRules(), 0)
