"""Signatures that are opened only when they are needed compute what all of them together do."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.flow_lm import group_of
from pocket_tts_jax.litert_engine.grouped_model import GroupedModel
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
from pocket_tts_jax.litert_engine.runtime import LiteRTModel, names_in
from pocket_tts_jax.litert_engine.turns import Turns
from pocket_tts_jax.testing.tiny_model import tiny_voice
from tests.exported import tiny_export
from tests.litert_engine.test_batcher import assert_same, job, speak

FILE = "flow_lm.tflite"


@pytest.fixture(scope="module")
def whole() -> LiteRTModel:
    return LiteRTModel(tiny_export() / FILE, threads=1, weight_cache=IN_MEMORY)


def outputs_of(model: LiteRTModel, name: str) -> dict[str, np.ndarray]:
    """What a signature makes of random numbers. Called twice, with pages released in between."""
    call, rng = model.bind(name), np.random.default_rng(0)
    for array in call.inputs.values():
        array[...] = rng.uniform(0, 3, array.shape).astype(array.dtype)
    call()
    model.release_pages()
    call()
    return call.outputs


@pytest.mark.parametrize("step", [1, 3])
def test_some_signatures_are_those_of_the_file(whole: LiteRTModel, step: int) -> None:
    path = tiny_export() / FILE
    names = names_in(path)
    assert names == list(whole.signatures) and len(names) > 9
    kept = names[step - 1 :: step + 1]
    some = LiteRTModel(path, threads=1, weight_cache=IN_MEMORY, signatures=kept)
    assert list(some.signatures) == kept
    for name in kept:
        expected = outputs_of(whole, name)
        for output, found in outputs_of(some, name).items():
            np.testing.assert_array_equal(found, expected[output], err_msg=f"{name} {output}")
    missing = next(name for name in names if name not in kept)
    with pytest.raises(GenerationError, match="has no signature"):
        some.bind(missing)


def test_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / FILE
    shutil.copyfile(tiny_export() / FILE, path)
    before = path.read_bytes()
    model = LiteRTModel(path, threads=1, weight_cache=IN_MEMORY, signatures=["embed_text"])
    model.bind("embed_text")()
    model.close()
    assert path.read_bytes() == before


def open_groups(engine: LiteRTEngine) -> set[object]:
    return set(engine.flow_lm.model._opened)


def test_groups_are_opened_when_speech_needs_them(tmp_path: Path) -> None:
    engine = LiteRTEngine(tiny_export(), threads=1, cache_folder=tmp_path)
    in_memory = LiteRTEngine(tiny_export(), threads=1)
    assert len(open_groups(in_memory)) == 1 and len(in_memory.flow_lm.model.names) > 9
    smallest, larger = engine.folder.capacities[:2]
    assert open_groups(engine) == {(smallest, False)}
    short = job(0, engine)
    assert_same([speak(engine, short)], [speak(in_memory, short)])
    assert open_groups(engine) == {(smallest, False)}
    long = job(1, engine, frames=smallest)
    assert_same([speak(engine, long)], [speak(in_memory, long)])
    assert open_groups(engine) == {(smallest, False), (larger, False)}
    engine.compute_whole_batches()  # whether streams meet depends on how busy the machine is
    both = [job(2, engine), job(3, engine)]
    assert_same(engine.speak(both), in_memory.speak(both))
    assert open_groups(engine) == {(smallest, False), (larger, False), (smallest, True)}


def test_the_cache_may_be_emptied_meanwhile(tmp_path: Path) -> None:
    engine = LiteRTEngine(tiny_export(), threads=1, cache_folder=tmp_path)
    packed = list(tmp_path.glob("*.xnnpack"))
    assert len(packed) == 2
    for path in packed:
        path.unlink()
    long = job(1, engine, frames=engine.folder.capacities[0])
    in_memory = LiteRTEngine(tiny_export(), threads=1)
    assert_same([speak(engine, long)], [speak(in_memory, long)])
    assert len(open_groups(engine)) == 2 and not list(tmp_path.glob("*.xnnpack"))


def test_a_closed_model_opens_nothing_more(tmp_path: Path) -> None:
    engine = LiteRTEngine(tiny_export(), threads=1, cache_folder=tmp_path)
    engine.close()
    for voice in (None, tiny_voice(engine.config, length=engine.folder.capacities[0])):
        with pytest.raises(GenerationError, match="is closed"):
            engine.start(voice, job(0, engine).prompt, 1)


def test_an_unknown_signature_and_a_file_that_is_no_model(tmp_path: Path) -> None:
    how = {"threads": 1, "weight_cache": IN_MEMORY, "turns": Turns()}
    model = GroupedModel(tiny_export() / FILE, group_of([256]), **how)
    with pytest.raises(GenerationError, match=r"has no signature 'dance'.*embed_text"):
        model.bind("dance")
    for number, content in enumerate([b"", b"no model", bytes(4096), b"\xff" * 4096]):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(content)
        with pytest.raises(GenerationError, match="cannot be read|has no signature"):
            GroupedModel(path, group_of([256]), **how).open("embed_text")
