"""Mimi, the codec: latents at 12.5 Hz ↔ samples at 24 kHz (Défossez et al. 2024,
https://arxiv.org/abs/2410.00037, used here without its quantiser).

Decoder: latent → 1×1 projection → ×16 depthwise transposed convolution → causal transformer at
200 Hz with a sliding window → SEANet → 1920 samples per frame. The encoder is its mirror image.
Both are step functions: the state is an argument and a result.
"""

from typing import NamedTuple

from flax import linen as nn
from jax import export
from jaxtyping import Array, Float

from pocket_tts_jax.config import MimiConfig
from pocket_tts_jax.model import seanet
from pocket_tts_jax.model.conv import Conv1d, ConvTranspose1d, replicate_start
from pocket_tts_jax.model.layers import contract
from pocket_tts_jax.model.rope import RopeLayout
from pocket_tts_jax.model.seanet import SEANet
from pocket_tts_jax.model.transformer import ProjectedTransformer, WindowState, init_window


class DecoderState(NamedTuple):
    upsample: Float[Array, "b stride c"]
    transformer: WindowState
    seanet: seanet.State


class EncoderState(NamedTuple):
    seanet: seanet.State
    transformer: WindowState
    downsample: Float[Array, "b history c"]


for _state in (DecoderState, EncoderState):
    export.register_namedtuple_serialization(
        _state, serialized_name=f"pocket_tts_jax.{_state.__name__}"
    )


class PointwiseConv(nn.Module):
    """A bias-free 1×1 convolution: the quantiser's output projection."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b t i"]) -> Float[Array, "b t o"]:
        shape = (self.features, x.shape[-1], 1)
        weight = self.param("weight", nn.initializers.lecun_normal(1, 0), shape)
        return contract(x, weight.reshape(shape[:2]))


class Mimi(nn.Module):
    config: MimiConfig
    rope_layout: RopeLayout = "interleaved"

    def setup(self) -> None:
        c = self.config
        self.encoder = SEANet(c.seanet, "encoder")
        self.encoder_transformer = ProjectedTransformer(c.transformer, self.rope_layout)
        self.downsample = _downsample(c)
        self.quantizer = PointwiseConv(c.quantizer.output_dimension, name="quantizer.output_proj")
        self.upsample = _upsample(c)
        self.decoder_transformer = ProjectedTransformer(c.decoder_attention, self.rope_layout)
        self.decoder = SEANet(c.decoder, "decoder")

    def decode_step(
        self, state: DecoderState, latents: Float[Array, "b n z"]
    ) -> tuple[Float[Array, "b samples"], DecoderState]:
        """Decode the next `n` frames of latents (not normalised) to `n * frame_size` samples."""
        x, upsample = self.upsample(self.quantizer(latents), state.upsample)
        x, transformer = self.decoder_transformer(x, state.transformer)
        x, convolutions = self.decoder(x, state.seanet)
        return x[:, :, 0], DecoderState(upsample, transformer, convolutions)

    def encode_step(
        self, state: EncoderState, audio: Float[Array, "b samples"]
    ) -> tuple[Float[Array, "b n z"], EncoderState]:
        """Encode the next whole frames of audio, a multiple of `frame_size` samples."""
        x, convolutions = self.encoder(audio[:, :, None], state.seanet)
        position = state.transformer.position
        x, transformer = self.encoder_transformer(x, state.transformer)
        previous = replicate_start(x, state.downsample, position)
        latents, downsample = self.downsample(x, previous)
        return latents, EncoderState(convolutions, transformer, downsample)

    def __call__(
        self,
        encoder_state: EncoderState,
        audio: Float[Array, "b samples"],
        decoder_state: DecoderState,
        latents: Float[Array, "b n z"],
    ) -> tuple[Float[Array, "b n encoded"], Float[Array, "b samples"]]:
        """One step in both directions, for `init`: it uses every parameter."""
        encoded, _ = self.encode_step(encoder_state, audio)
        decoded, _ = self.decode_step(decoder_state, latents)
        return encoded, decoded


def _downsample(c: MimiConfig) -> Conv1d:
    stride = c.steps_per_frame
    return Conv1d(
        *(c.seanet.dimension, c.encoded_dim, 2 * stride, stride),
        use_bias=False,
        name="downsample.conv",
    )


def _upsample(c: MimiConfig) -> ConvTranspose1d:
    channels = c.decoder.dimension
    return ConvTranspose1d(
        *(channels, channels, c.steps_per_frame),
        use_bias=False,
        depthwise=True,
        name="upsample.convtr",
    )


def init_decoder_state(config: MimiConfig, batch: int) -> DecoderState:
    return DecoderState(
        _upsample(config).init_state(batch),
        init_window(config.decoder_attention, batch),
        seanet.init_state(seanet.decoder_layers(config.decoder), batch),
    )


def init_encoder_state(config: MimiConfig, batch: int) -> EncoderState:
    return EncoderState(
        seanet.init_state(seanet.encoder_layers(config.seanet), batch),
        init_window(config.transformer, batch),
        _downsample(config).init_state(batch),
    )
