"""Short runs of the reference on random checkpoints, for the parity test that needs no torch.

    python -m tests.golden.make_parity      # with an interpreter that has pocket-tts 4.0.1

Writes `parity.npz` next to this file. The weights are not in it: `pocket_tts_jax.testing` draws
them from the seed; a fingerprint tells whether it still draws the same.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.testing.random_checkpoint import MIN_FRAMES, end_at, random_tensors
from tests.parity import prompt
from tests.reference import Reference

GOLDEN = Path(__file__).parent / "parity.npz"
STEPS = {
    "english_2m_2026-10": 40,  # pointwise, a decoder of its own with a window of 50 steps
    "english_7m_2026-10": 40,  # drifting, attention wider than the model
    "english_18m_2026-10": 40,  # drifting, a full table
    "english_drifting_26-09": 12,
    "english_2026-10": 12,  # lsd
    "english_2026-01": 12,  # lsd, no BOS before the voice
}
SEED = 7
AUDIO_STRIDE = 13


def fingerprint(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """A few values of every 20th tensor."""
    return np.concatenate([tensors[name].reshape(-1)[:4] for name in sorted(tensors)[::20]])


def make(name: str, steps: int) -> dict[str, Any]:
    config = load_config(packaged_config(name))
    tensors = random_tensors(config, SEED)
    audio, tokens, drawn = prompt(config, SEED, steps)
    reference = Reference(name, tensors)
    run = reference.run(audio, tokens, drawn)
    shift, frame = end_at(run.eos_logits[0], reference.threshold, MIN_FRAMES + 1, steps - 1)
    return {
        "latents": run.latents[0],
        "eos_logits": run.eos_logits[0] + np.float32(shift),
        "eos_shift": np.float32(shift),
        "eos_frame": np.int32(frame),
        "encoded": reference.encode(audio),
        "audio": reference.decode(run.latents[0])[::AUDIO_STRIDE],
        "fingerprint": fingerprint(tensors),
    }


def main() -> None:
    arrays = {}
    for name, steps in STEPS.items():
        arrays |= {f"{name}/{key}": value for key, value in make(name, steps).items()}
        print(name)
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{GOLDEN.name}: {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
