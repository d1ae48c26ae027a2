"""Whole exports of the embedded voice speak in every precision."""

from pathlib import Path

import numpy as np
import pytest

from exporters.build import Options
from exporters.convert.quantize import PRECISIONS, RECIPES, Precision, quantize
from exporters.tflite import export
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
from pocket_tts_jax.litert_engine.runtime import LiteRTModel
from tests.exported import tiny_export


def options_for(precision: Precision) -> Options:
    return Options(precision, max_frames=320, prefill_lengths=(16,), decoder_frames=(1,))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_embedded_voice_speaks(tmp_path: Path, precision: Precision) -> None:
    assert export(None, tmp_path / "out", options_for(precision)) == []
    engine = LiteRTEngine(tmp_path / "out", threads=1)
    audio = engine.decoder().decode(np.zeros((1, engine.config.latent_dim), np.float32))
    assert np.isfinite(audio).all()


def test_quantised_weights_are_smaller_and_close(tmp_path: Path) -> None:
    """On weights too few to pass a gate: the file shrinks, the numbers stay near."""
    source, target = tiny_export() / "mimi_decoder.tflite", tmp_path / "mimi_decoder.tflite"
    quantize(source, target, RECIPES["int8"])
    assert target.stat().st_size < source.stat().st_size
    outputs = []
    for path in (source, target):
        call = LiteRTModel(path, threads=1, weight_cache=IN_MEMORY).bind("decode_1")
        call.inputs["latents"][...] = np.random.default_rng(0).standard_normal((1, 1, 32))
        call()
        outputs.append(call.outputs["audio"])
    noise = np.square(outputs[1] - outputs[0]).mean() / np.square(outputs[0]).mean()
    assert 0 < noise < 10 ** (-20 / 10)
