"""Each fault that an export has had, or could have, put into the calls of a right one: the gate
has to see every one of them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from exporters import build
from exporters.convert.quantize import Precision
from exporters.gate import gate
from exporters.gate import inspect_file as flatbuffer
from exporters.gate.against_file import run_flow_lm
from exporters.gate.gate import Check
from exporters.gate.reference import Model, make_reference
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
from pocket_tts_jax.litert_engine.runtime import Call, LiteRTModel
from tests.exported import OPTIONS, tiny_export, tiny_model_folder

pytestmark = pytest.mark.slow
FILE = "flow_lm.tflite"


class Faulty:
    """A file in whose calls something goes wrong."""

    def __init__(self, file: LiteRTModel, fault: Callable[[str, Call], None]) -> None:
        self._file, self._fault = file, fault
        self.signatures = file.signatures

    def bind(self, name: str) -> "FaultyCall":
        return FaultyCall(name, self._file.bind(name), self._fault)


class FaultyCall:
    def __init__(self, name: str, call: Call, fault: Callable[[str, Call], None]) -> None:
        self._name, self._call, self._fault = name, call, fault
        self.inputs, self.outputs = call.inputs, call.outputs

    def __call__(self) -> None:
        self._fault(self._name, self._call)


def nothing(name: str, call: Call) -> None:
    call()


def numbers_that_are_not_finite(name: str, call: Call) -> None:
    call()
    if name.startswith("decode"):
        call.outputs["next_latent"][0, 0] = np.nan


def noise_is_ignored(name: str, call: Call) -> None:
    if name.startswith("decode"):
        call.inputs["noise"][...] = 0
    call()


def prefill_forgets_the_cache(name: str, call: Call) -> None:
    if name.startswith("prefill"):
        for cache in ("k_0", "v_0"):
            call.inputs[cache][...] = 0
    call()


def step_sees_a_stale_slot(name: str, call: Call) -> None:
    if name.startswith("decode"):
        call.inputs["position"] += 1
    call()


def last_slots_are_not_read(name: str, call: Call) -> None:
    if name.startswith("decode"):
        for cache in ("k_0", "v_0"):
            call.inputs[cache][:, :, -60:] = 0
    call()


def attention_is_of_nothing(name: str, call: Call) -> None:
    call()
    if name.startswith("decode"):
        call.outputs["attention"][...] = 0


def rows_of_a_batch_change_places(name: str, call: Call) -> None:
    call()
    if "_b" in name:
        call.outputs["next_latent"][...] = np.roll(call.outputs["next_latent"], 1, axis=0)


def a_place_in_the_batch_is_less_exact(name: str, call: Call) -> None:
    call()
    if "_b" in name:
        call.outputs["next_latent"][-1] *= 1 + 1e-6


def one_row_of_the_table_is_wrong(name: str, call: Call) -> None:
    call()
    if name == "embed_text" and (call.inputs["tokens"] == 37).any():
        call.outputs["embeddings"][call.inputs["tokens"] == 37] = 0


def rows_are_a_little_off(name: str, call: Call) -> None:
    call()
    if name.startswith("decode"):
        call.outputs["v_1_rows"] *= 1.001


def eos_comes_too_late(name: str, call: Call) -> None:
    call()
    if name.startswith("decode"):
        call.outputs["eos_logit"] -= 1


COARSE = (
    numbers_that_are_not_finite,
    noise_is_ignored,
    prefill_forgets_the_cache,
    step_sees_a_stale_slot,
    last_slots_are_not_read,
    attention_is_of_nothing,
    rows_of_a_batch_change_places,
    a_place_in_the_batch_is_less_exact,
)
FINE = (one_row_of_the_table_is_wrong, rows_are_a_little_off, eos_comes_too_late)
Judge = Callable[[Callable[[str, Call], None], Precision], list[Check]]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """The checks of the tiny export with a fault in it."""
    source = build.open_model(str(tiny_model_folder()))
    tensors = source.load_tensors()
    weights = build.flow_lm_weights(tensors, source.config)
    signatures = build.make_parts(weights, tensors, source, OPTIONS)[0].signatures
    model = Model(tensors, source)
    reference = make_reference(model, source, tiny_export() / "voices", [256, OPTIONS.max_frames])
    file = LiteRTModel(tiny_export() / FILE, threads=1, weight_cache=IN_MEMORY)

    def run(fault: Callable[[str, Call], None], precision: Precision) -> list[Check]:
        faulty: Any = Faulty(file, fault)
        chains = run_flow_lm(faulty, signatures, model, reference)
        return [c for chain in chains for c in gate._judge(FILE, chain, source.config, precision)]

    yield run
    file.close()


def test_without_a_fault_all_checks_pass(judge: Judge) -> None:
    for precision in ("fp32", "int8"):
        assert all(check.passed for check in judge(nothing, precision))


@pytest.mark.parametrize("fault", [*COARSE, *FINE], ids=lambda fault: fault.__name__)
def test_the_gate_sees(judge: Judge, fault: Callable[[str, Call], None]) -> None:
    assert any(not check.passed for check in judge(fault, "fp32"))


@pytest.mark.parametrize("fault", COARSE, ids=lambda fault: fault.__name__)
def test_the_gate_sees_it_in_int8_too(judge: Judge, fault: Callable[[str, Call], None]) -> None:
    assert any(not check.passed for check in judge(fault, "int8"))


def test_the_gate_sees_one_function_outside_xnnpack(monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_export() / FILE
    found = flatbuffer.undelegated(path)
    name = next(name for name in found if "decode" in name)
    count, _ = found[name]
    left = ["MUL"] * (count // 10)
    monkeypatch.setattr(flatbuffer, "undelegated", lambda _: found | {name: (count, left)})
    checks = gate.check_shape(path, {}, "fp32")
    assert [c.what for c in checks if not c.passed] == ["least share of nodes in XNNPACK"]
