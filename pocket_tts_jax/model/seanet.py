"""SEANet (Tagliasacchi et al. 2020), the convolutional part of Mimi's encoder and decoder.

Each side is a list of layers, `model.0`, `model.1`, … in the checkpoint. Activations have an index
too, but no tensors. The state of a SEANet is the tuple of its layers' states, in order.
"""

from typing import Any

from flax import linen as nn
from jaxtyping import Array, Float

from pocket_tts_jax.config import SEANetConfig
from pocket_tts_jax.model.conv import Conv1d, ConvTranspose1d, elu

State = tuple[Any, ...]


class ResidualBlock(nn.Module):
    """x + conv1(elu(conv3(elu(x)))), the first dilated, through `channels // compress`."""

    channels: int
    compress: int
    kernel_size: int
    dilation: int

    @nn.nowrap
    def convolutions(self) -> list[Conv1d]:
        hidden = self.channels // self.compress
        wide = Conv1d(
            *(self.channels, hidden, self.kernel_size), dilation=self.dilation, name="block.1"
        )
        return [wide, Conv1d(hidden, self.channels, 1, name="block.3")]

    @nn.nowrap
    def init_state(self, batch: int) -> State:
        return tuple(conv.init_state(batch) for conv in self.convolutions())

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t c"], state: State
    ) -> tuple[Float[Array, "b t c"], State]:
        y, states = x, []
        for conv, previous in zip(self.convolutions(), state, strict=True):
            y, previous = conv(elu(y), previous)
            states.append(previous)
        return x + y, tuple(states)


def decoder_layers(config: SEANetConfig) -> list[nn.Module]:
    """Layers from `dimension` channels at the inner rate to one channel of samples."""
    c, channels = config, config.n_filters * 2 ** len(config.ratios)
    layers: list[nn.Module] = [Conv1d(c.dimension, channels, c.kernel_size, name="model.0")]
    index = 1  # of the activation before the next layer
    for ratio in c.ratios:
        layers.append(ConvTranspose1d(channels, channels // 2, ratio, name=f"model.{index + 1}"))
        channels //= 2
        layers += _residual_blocks(c, channels, index + 2)
        index += 2 + c.n_residual_layers
    layers.append(Conv1d(channels, c.channels, c.last_kernel_size, name=f"model.{index + 1}"))
    return layers


def encoder_layers(config: SEANetConfig) -> list[nn.Module]:
    """Layers from one channel of samples to `dimension` channels at the inner rate."""
    c, channels = config, config.n_filters
    layers: list[nn.Module] = [Conv1d(c.channels, channels, c.kernel_size, name="model.0")]
    index = 1
    for ratio in reversed(c.ratios):
        layers += _residual_blocks(c, channels, index)
        index += c.n_residual_layers
        layers.append(Conv1d(channels, 2 * channels, 2 * ratio, ratio, name=f"model.{index + 1}"))
        channels *= 2
        index += 2
    layers.append(Conv1d(channels, c.dimension, c.last_kernel_size, name=f"model.{index + 1}"))
    return layers


def _residual_blocks(c: SEANetConfig, channels: int, index: int) -> list[nn.Module]:
    return [
        ResidualBlock(
            *(channels, c.compress, c.residual_kernel_size, c.dilation_base**j),
            name=f"model.{index + j}",
        )
        for j in range(c.n_residual_layers)
    ]


def init_state(layers: list[nn.Module], batch: int) -> State:
    return tuple(layer.init_state(batch) for layer in layers)  # pyright: ignore


class SEANet(nn.Module):
    """One side of Mimi: `side` picks the layers."""

    config: SEANetConfig
    side: str  # "encoder" or "decoder"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t c"], state: State
    ) -> tuple[Float[Array, "b u o"], State]:
        build = encoder_layers if self.side == "encoder" else decoder_layers
        states = []
        for layer, previous in zip(build(self.config), state, strict=True):
            if states and not isinstance(layer, ResidualBlock):
                x = elu(x)
            x, previous = layer(x, previous)  # pyright: ignore
            states.append(previous)
        return x, tuple(states)
