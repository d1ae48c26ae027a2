"""The two ways from JAX to a `.tflite` give the same file, as far as its numbers go."""

from pathlib import Path

import numpy as np
import pytest

from exporters.build import Options, make_parts, open_model
from exporters.graph.fold import flow_lm_weights
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
from pocket_tts_jax.litert_engine.runtime import LiteRTModel
from tests.exported import tiny_model_folder

OPTIONS = Options(
    "fp32", max_frames=64, with_encoder=True, prefill_lengths=(8,), decoder_frames=(1,)
)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # TensorFlow's own
def test_both_routes_agree(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from exporters.convert import jax2tf
    from exporters.convert import litert as convert

    source = open_model(str(tiny_model_folder()))
    tensors = source.load_tensors()
    weights = flow_lm_weights(tensors, source.config)
    for part in make_parts(weights, tensors, source, OPTIONS):
        models = []
        for name, route in (("litert", convert.convert), ("jax2tf", jax2tf.convert)):
            path = tmp_path / f"{name}_{part.file}"
            route(part.signatures, path)
            models.append(LiteRTModel(path, threads=1, weight_cache=IN_MEMORY))
        for signature in part.signatures:
            calls = [model.bind(signature.name) for model in models]
            rng = np.random.default_rng(0)
            for tensor in signature.inputs:
                values = rng.standard_normal(tensor.shape).astype(np.float32)
                if tensor.dtype == "int32":
                    values = rng.integers(0, 9, tensor.shape).astype(np.int32)
                for call in calls:
                    call.inputs[tensor.name][...] = values
            for call in calls:
                call()
            for name, found in calls[0].outputs.items():
                other = calls[1].outputs[name]
                np.testing.assert_allclose(found, other, atol=1e-4 * max(1, np.abs(other).max()))


def test_without_tensorflow_the_other_route_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from exporters.convert import jax2tf

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ConfigError, match="tensorflow-cpu"):
        jax2tf.convert([], tmp_path / "out.tflite")
