"""`speak.py EXPORT AUDIO.npz`: speech and single numbers of an export, for comparison.

Runs here and on the emulated core, with the base installation alone.
"""

import platform
import sys

import numpy as np

from pocket_tts_jax import TTSModel
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.text.prepare import Prompt

TEXT = "The train was late again."
SEED = 7
STEPS = 4


def main() -> None:
    folder, target = sys.argv[1:]
    model = TTSModel.load_model(
        model=folder, engine="litert", threads=1, temp=0.0, compilation_cache=False
    )
    voice = model.get_state_for_audio_prompt(model.default_voice())
    chunks: list[ChunkReport] = []
    frames = model.generate_audio_stream(voice, TEXT, seed=SEED, on_chunk=chunks.append)
    audio = np.concatenate(list(frames))
    prompt = next(item for item in model.prompts(TEXT) if isinstance(item, Prompt))
    session = model.engine.start(voice, prompt, model.sampling(SEED).flow_steps)
    steps = [session.step(np.zeros(model.config.latent_dim, np.float32)) for _ in range(STEPS)]
    np.savez(
        target,
        machine=platform.machine(),
        audio=audio,
        frames=[chunk.frames for chunk in chunks],
        latents=np.stack([step[0] for step in steps]),
        eos_logits=np.array([step[1] for step in steps]),
    )


if __name__ == "__main__":
    main()
