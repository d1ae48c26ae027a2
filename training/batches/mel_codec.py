"""The mel autoencoder: log-mel (100 Hz) to 32 floats at 12.5 Hz and back.

The encoder sees one latent to either side; the decoder is causal, like Mimi's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from pocket_tts_jax.model.layers import Linear
from training.data.spectra import MEL_BINS, MELS_PER_FRAME
from training.data.streams import LATENT_DIM

NOISE = 0.3
MARGIN = 1  # latents that the encoder sees to either side


class MelEncoder(nn.Module):
    width: int = 384

    @nn.compact
    def __call__(self, mel: Float[Array, "b t 80"]) -> Float[Array, "b n 32"]:
        """Normalised log-mel of n + 2 frames to the latents of the inner n."""
        x = mel.reshape(len(mel), -1, MELS_PER_FRAME * MEL_BINS)
        x = jax.nn.silu(Linear(self.width, name="input")(x))
        around = jnp.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=-1)
        x = x[:, 1:-1] + jax.nn.silu(Linear(self.width, name="context")(around))
        x = x + jax.nn.silu(Linear(self.width, name="hidden")(x))
        return Linear(LATENT_DIM, name="output")(x)


class MelDecoder(nn.Module):
    width: int = 384

    @nn.compact
    def __call__(self, latents: Float[Array, "b n 32"]) -> Float[Array, "b t 80"]:
        past = jnp.pad(latents, ((0, 0), (2, 0), (0, 0)))
        x = jnp.concatenate([past[:, :-2], past[:, 1:-1], past[:, 2:]], axis=-1)
        x = jax.nn.silu(Linear(self.width, name="input")(x))
        x = x + jax.nn.silu(Linear(self.width, name="hidden")(x))
        x = Linear(MELS_PER_FRAME * MEL_BINS, name="output")(x)
        return x.reshape(len(x), -1, MEL_BINS)


class MelCodec(nn.Module):
    def setup(self) -> None:
        self.encoder, self.decoder = MelEncoder(), MelDecoder()

    def encode(self, mel: Float[Array, "b t 80"]) -> Float[Array, "b n 32"]:
        return self.encoder(mel)

    def decode(self, latents: Float[Array, "b n 32"]) -> Float[Array, "b t 80"]:
        return self.decoder(latents)

    def __call__(self, mel: Float[Array, "b t 80"], noise: Float[Array, "b n 32"]) -> tuple:
        latents = self.encoder(mel)
        return latents, self.decoder(latents + NOISE * noise)


def encode_mels(
    codec: dict[str, np.ndarray], mels: Float[np.ndarray, "t 80"], block: int = 512
) -> Float[np.ndarray, "n 32"]:
    """Latents of a stream; its ends are repeated where the encoder looks beyond them."""
    params = unflatten_dict({k: v for k, v in codec.items() if k.startswith("params")}, sep="/")
    encode = jax.jit(lambda mel: MelCodec().apply(params, mel, method="encode"))
    normal = (mels - codec["mel.mean"]) / codec["mel.scale"]
    count, edge = len(normal) // MELS_PER_FRAME, MELS_PER_FRAME
    tail = -count % block + 1
    normal = np.concatenate([normal[:edge], normal, np.tile(normal[-edge:], (tail, 1))])
    latents = [
        np.asarray(encode(normal[None, s * edge : (s + block + 2) * edge])[0])
        for s in range(0, count, block)
    ]
    return np.concatenate(latents)[:count]
