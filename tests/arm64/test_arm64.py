"""Exports on an emulated Arm core: the numbers of x86, within what the gate allows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporters.build import Options
from exporters.tflite import export
from tests.arm64 import speak
from tests.arm64.emulator import NEWER_CORE, NEWER_FEATURES, Emulator, build, reason_to_skip
from tests.folders import ROOT

pytestmark = pytest.mark.slow
# Signal to noise of the latents, in dB: the gate's limits for one step are the same.
LOWEST_SNR = {"int8": 27.0, "int4": 10.5}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    if (reason := reason_to_skip()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("arm64")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), "."]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    return build(folder, wheel)


@pytest.fixture(scope="module", params=["fp32", "int8", "int4"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded voice in one precision, smaller than the shipped one to be made quickly."""
    folder = tmp_path_factory.mktemp("export") / request.param
    options = Options(
        request.param, max_frames=320, prefill_lengths=(16, 64), decoder_frames=(1, 2), batches=()
    )
    assert export(None, folder, options) == []
    return folder


@pytest.fixture(scope="module")
def here(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What this machine makes of it."""
    return spoken_here(exported, tmp_path_factory.mktemp("here") / "here.npz")


def spoken_here(folder: Path, place: Path) -> dict[str, np.ndarray]:
    command = [sys.executable, "-m", "tests.arm64.speak", str(folder), str(place)]
    subprocess.run(command, cwd=ROOT, check=True)
    return dict(np.load(place))


def spoken_there(emulator: Emulator, folder: Path, place: Path, **core: str) -> dict:
    done = emulator.run(speak.__file__, str(folder), str(place), **core)
    assert done.returncode == 0, done.stderr
    numbers = dict(np.load(place))
    assert numbers["machine"] == "aarch64"
    return numbers


def assert_close(precision: str, here: dict, there: dict) -> None:
    assert np.array_equal(here["frames"], there["frames"]), "speech ends at another frame"
    if precision == "fp32":
        scale = np.abs(here["audio"]).max()
        assert np.abs(here["audio"] - there["audio"]).max() <= 1e-5 * max(scale, 1)
        np.testing.assert_allclose(here["latents"], there["latents"], atol=1e-4)
        return
    noise = np.square(here["latents"] - there["latents"]).mean()
    snr = 10 * np.log10(np.square(here["latents"]).mean() / noise) if noise else np.inf
    assert snr >= LOWEST_SNR[precision]


def test_exports_speak_as_on_x86(
    emulator: Emulator, exported: Path, here: dict, tmp_path: Path
) -> None:
    there = spoken_there(emulator, exported, tmp_path / "there.npz")
    assert_close(exported.name, here, there)


def test_newer_cores_too(emulator: Emulator, exported: Path, here: dict, tmp_path: Path) -> None:
    """With 8-bit matrix products, which XNNPACK uses where a core has them."""
    if exported.name == "fp32":
        pytest.skip("float32 weights have no 8-bit products")
    core = {"core": NEWER_CORE, "features": NEWER_FEATURES}
    there = spoken_there(emulator, exported, tmp_path / "there.npz", **core)
    assert_close(exported.name, here, there)


def test_the_base_installation_speaks(emulator: Emulator) -> None:
    """The command, with the voice in the package, as on a Raspberry Pi."""
    place = emulator.folder / "hello.wav"
    done = emulator.run("-m", "pocket_tts_jax", "generate", "Hello.", "-o", str(place))
    assert done.returncode == 0, done.stderr
    assert place.stat().st_size > 24000
    assert not (emulator.folder / "site" / "jax").exists()
