"""The folder that the benchmarks run on: when it is made again, and what its texts are cut into."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import compare, engines, sources, workload
from benchmarks.compare import Case
from benchmarks.texts import BATCH_TEXT, TEXT
from benchmarks.tokenizer import pieces, write_tokenizer
from benchmarks.workload import QUICK_SIZE, ExportRefused, Workload, make_workload, ptts_config
from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.text.tokenizer import load_tokenizer

CONFIG = load_config(packaged_config("english_2026-10"))


def _exporter(monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str) -> None:
    done = subprocess.CompletedProcess([], code, out, err)
    monkeypatch.setattr(workload.subprocess, "run", lambda *_, **__: done)


def test_what_the_gate_refuses_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    out = "8 of 9 checks passed.\nFAILED mimi: audio: SNR dB is 20, limit 30\n"
    _exporter(monkeypatch, 1, out, "a warning\n")
    jax = Case("pocket_tts_jax.jax", "fp32", 2)
    cases = [Case("pocket_tts_jax.litert", "int8", 2), jax]
    kept, refused = compare.with_exports(cases, Workload(tmp_path))
    assert kept == [jax]
    assert "int8: the exporter's gate refused" in refused[0]["reason"]
    assert "SNR dB is 20, limit 30" in refused[0]["reason"]


@pytest.mark.parametrize(
    ("code", "out", "err", "said"),
    [
        (-9, "", "", "code -9, its last words: none"),
        (1, "9 of 9 checks passed.\n", "Traceback\nOSError: no space\n", "OSError: no space"),
        (1, "FAILED mimi: a check\n", "error: no such voice\n", "error: no such voice"),
        (2, "FAILED mimi: a check\n", "", "code 2"),
    ],
)
def test_another_failure_of_the_exporter_is_not_the_gates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, out: str, err: str, said: str
):
    _exporter(monkeypatch, code, out, err)
    with pytest.raises(RuntimeError, match=said) as raised:
        workload.make_export(Workload(tmp_path), "int8")
    assert not isinstance(raised.value, ExportRefused)


def test_a_workload_is_made_again_when_its_sources_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(workload, "made_by", lambda name: f"{name} 2")
    made = Workload(tmp_path)
    weights = made.path / "model.safetensors"
    weights.write_bytes(b"kept")
    made.export("int8").mkdir(parents=True)
    made.ptts.mkdir()
    made.mark.write_text(f"{QUICK_SIZE} 2")
    assert make_workload(tmp_path, QUICK_SIZE) == made
    assert weights.read_bytes() == b"kept" and made.export("int8").exists()
    made.mark.write_text(f"{QUICK_SIZE} 1")
    make_workload(tmp_path, QUICK_SIZE)
    assert weights.stat().st_size > 1000 and not made.export("int8").exists()
    assert made.mark.read_text() == f"{QUICK_SIZE} 2"


def test_an_exporter_or_a_converter_that_changes_makes_another_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "exporters").mkdir()
    source = tmp_path / "exporters" / "graph.py"
    source.write_text("a = 1")
    keys = [sources.made_by("c", tmp_path), sources.made_by("d", tmp_path)]
    source.write_text("a = 2")
    keys.append(sources.made_by("c", tmp_path))
    monkeypatch.setattr(sources, "versions", lambda names: dict.fromkeys(names, "0"))
    keys.append(sources.made_by("c", tmp_path))
    assert len(set(keys)) == 4
    assert all(list(sources.ROOT.glob(pattern)) for pattern in sources.SOURCES)


@pytest.mark.parametrize("count", [50, 500, 4000])
def test_a_made_up_vocabulary_has_the_size_and_cuts_words(tmp_path: Path, count: int):
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path, count)
    tokenizer = load_tokenizer("tokenizers", path, count)
    assert len(set(pieces(count))) == count
    if count >= 500:
        assert tokenizer.decode(tokenizer.encode("We walked home.")) == "We walked home."


def test_texts_have_the_length_that_the_published_vocabulary_gives_them(tmp_path: Path):
    """Its ids of the two texts, `<s>` included, are 14 and 7."""
    made = Workload(tmp_path)
    write_tokenizer(tmp_path / "tokenizer.json", CONFIG.flow_lm.lookup_table.n_bins)
    workload._write_config(made, workload.FULL_SIZE)
    assert (made.tokens(TEXT), made.expected_frames(TEXT)) == (14, 84)
    assert (made.tokens(BATCH_TEXT), made.expected_frames(BATCH_TEXT)) == (7, 55)


def test_ptts_is_told_the_published_widths():
    told = ptts_config(CONFIG)
    assert told["flow_lm"]["dim_feedforward"] == 4096
    assert told["mimi"]["ratios"] == [6, 5, 4]
    assert told["eos_threshold"] == engines.NEVER_ENDS
