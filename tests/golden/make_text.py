"""Golden cases of the text front end, made by the reference itself.

    python tests/golden/make_text.py        # with an interpreter that has pocket-tts 4.0.1

Writes next to this file `words.model` (a SentencePiece vocabulary trained on `texts.json`, which
holds our own sentences), `words.json` (the same vocabulary for `tokenizers`, with the same ids),
`marked.json` (the same pieces, but keeping spaces and putting `<s>` in front, as the published
English one does) and `text.json`: for each text, what the reference feeds its model.
"""

# pyright: reportMissingImports=false
import json
import logging
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sentencepiece
from pocket_tts.models.text_chunking import split_into_best_sentences
from pocket_tts.models.tts_model import TTSModel
from pocket_tts.modules.text_conditioner import build_tokenizer
from pocket_tts.utils.config import CONFIGS_DIR, load_config
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

HERE = Path(__file__).parent
VOCABULARY = 600
CONTROLS = 4  # <unk> <s> </s> <pad>
FIELDS = (
    "pad_with_spaces_for_short_inputs",
    "remove_semicolons",
    "append_terminal_punctuation",
    "capitalize_first_letter",
    "replace_characters",
)
# Rules by name: those of published configurations, and two that none of them has.
CONFIGS = {
    "english": "english_2026-10",
    "padded": "english_2026-01",
    "small": "english_2m_2026-10",
    "french": "french",
    "german": "german",
    "italian": "italian",
    "portuguese": "portuguese",
    "spanish": "spanish",
    "dutch": "dutch",
}
PLAIN = dict.fromkeys(FIELDS[:4], False) | {"replace_characters": {}}
EXTRA = {"plain": PLAIN, "defaults": PLAIN | dict.fromkeys(FIELDS[2:4], True)}


@dataclass(frozen=True)
class Setup:
    tokenizer: str
    rules: str
    max_tokens: int = 50


def setups(group: str) -> list[Setup]:
    """Under which rules the texts of one group of `texts.json` are run."""
    if group in ("other", "edge"):
        names = [("words.model", "small"), ("marked.json", "plain"), ("words.json", "french")]
        return [Setup(*pair) for pair in names]
    if group == "english":
        return [
            Setup("words.model", "english"),
            Setup("marked.json", "small", 20),
            Setup("words.json", "padded", 12),
        ]
    return [Setup("words.model", group), Setup("marked.json", "defaults", 25)]


def train(texts: list[str]) -> None:
    """Write the three vocabularies."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "words"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line for text in texts for line in text.splitlines() if line),
            model_prefix=str(prefix),
            vocab_size=VOCABULARY,
            model_type="unigram",
            normalization_rule_name="identity",
            character_coverage=0.995,
            byte_fallback=True,
            pad_id=3,
            num_threads=1,
            minloglevel=2,
        )
        (HERE / "words.model").write_bytes(prefix.with_suffix(".model").read_bytes())
    pieces = sentencepiece.SentencePieceProcessor(str(HERE / "words.model"))
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(len(pieces))]
    tidy = [
        normalizers.Replace(Regex("^ +| +$"), ""),
        normalizers.Replace(Regex(" {2,}"), " "),
        normalizers.Prepend("▁"),
    ]
    words = _json_tokenizer(vocabulary, strip=1)
    words.normalizer = normalizers.Sequence(tidy)
    words.save(str(HERE / "words.json"), pretty=False)
    marked = _json_tokenizer(vocabulary, strip=0)
    marked.add_special_tokens([AddedToken(p, special=True) for p, _ in vocabulary[:CONTROLS]])
    marked.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    marked.save(str(HERE / "marked.json"), pretty=False)


def _json_tokenizer(vocabulary: list[tuple[str, float]], strip: int) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="never", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + [decoders.Strip(" ", strip, 0)] * bool(strip))
    return tokenizer


def published_rules(name: str) -> dict[str, Any]:
    config = load_config(CONFIGS_DIR / f"{name}.yaml")
    return {field: getattr(config, field) for field in FIELDS}


def run_reference(text: str, rules: dict[str, Any], tokenizer: Any, max_tokens: int) -> dict:
    """Let the reference's own streaming loop cut `text`, and note what it would generate."""
    prompts = []

    def note(model_state, text_to_generate, frames_after_eos, copy_state, stop):
        ids = tokenizer(text_to_generate)[0].tolist()
        longest = TTSModel._estimate_max_gen_len(model, len(ids))
        prompts.append([text_to_generate, [int(i) for i in ids], frames_after_eos, longest])
        yield from ()

    model: Any = SimpleNamespace(  # what the loop asks of a TTSModel
        model_recommended_frames_after_eos=None,
        flow_lm=SimpleNamespace(conditioner=SimpleNamespace(tokenizer=tokenizer)),
        config=SimpleNamespace(mimi=SimpleNamespace(frame_rate=12.5)),
        _TOKENS_PER_SECOND_ESTIMATE=TTSModel._TOKENS_PER_SECOND_ESTIMATE,
        _GEN_SECONDS_PADDING=TTSModel._GEN_SECONDS_PADDING,
        _generate_audio_stream_short_text=note,
        **rules,
    )
    warnings = _Counter()
    logger = logging.getLogger("pocket_tts.models.text_chunking")
    logger.propagate = False
    logger.addHandler(warnings)
    found: dict[str, Any] = {"prompts": prompts}
    try:
        found["chunks"] = split_into_best_sentences(tokenizer, text, max_tokens, **rules)
        found["warnings"], warnings.count = warnings.count, 0
        list(TTSModel.generate_audio_stream(model, {}, text, max_tokens=max_tokens))
    except ValueError as error:
        found["error"] = str(error)
    finally:
        logger.removeHandler(warnings)
    return found


class _Counter(logging.Handler):
    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.levelno == logging.WARNING


def main() -> None:
    groups = json.loads((HERE / "texts.json").read_text(encoding="utf-8"))
    languages = [group for group in groups if group not in ("other", "edge")]
    train([text for group in languages for text in groups[group]])
    rules = {name: published_rules(config) for name, config in CONFIGS.items()} | EXTRA
    names = ("words.model", "words.json", "marked.json")
    kinds = {name: "sentencepiece" if name.endswith(".model") else "tokenizers" for name in names}
    tokenizers = {
        name: build_tokenizer(VOCABULARY, str(HERE / name), kinds[name]) for name in names
    }
    for text in (text for texts in groups.values() for text in texts):
        if "<s>" in text or "▁" in text:  # the libraries' own signs: they differ
            continue
        pair = [tokenizers[name].encode(text) for name in names[:2]]
        assert pair[0] == pair[1], f"the vocabularies disagree about {text!r}"
    cases = []
    for group, texts in groups.items():
        for setup in setups(group):
            for text in texts:
                found = run_reference(
                    text, rules[setup.rules], tokenizers[setup.tokenizer], setup.max_tokens
                )
                cases.append({"text": text, **vars(setup), **found})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    head = json.dumps({"kinds": kinds, "n_bins": VOCABULARY, "rules": rules}, ensure_ascii=False)
    document = f'{head[:-1]},\n"cases": [\n{lines}\n]}}\n'
    assert len(json.loads(document)["cases"]) == len(cases)
    (HERE / "text.json").write_text(document, encoding="utf-8")
    prompts = math.fsum(len(case["prompts"]) for case in cases)
    print(f"{len(cases)} cases, {prompts:.0f} prompts, {sum('error' in c for c in cases)} errors")


if __name__ == "__main__":
    main()
