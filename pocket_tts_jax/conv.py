"""Causal convolutions that stream, written as matrix products.

Activations are channels-last [b, t, c]; weights keep the checkpoint's layout, so that the
flattened weight is a view. A product is what a CPU (XLA, XNNPACK) does best: XLA's own
convolution is several times slower there at these shapes.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from pocket_tts_jax.linear import contract


class Conv1d(nn.Module):
    """Causal convolution. Its state is the last `history` inputs.

    `weight` is [out, in, kernel]. The checkpoint nests it one level down, as `conv.weight`.
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    use_bias: bool = True

    @property
    def history(self) -> int:
        """Inputs that one call needs from the calls before it."""
        return (self.kernel_size - 1) * self.dilation + 1 - self.stride

    @nn.nowrap
    def init_state(self, batch: int) -> Float[Array, "b history i"]:
        return jnp.zeros((batch, self.history, self.in_channels), jnp.float32)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t i"], previous: Float[Array, "b history i"]
    ) -> tuple[Float[Array, "b u o"], Float[Array, "b history i"]]:
        shape = (self.out_channels, self.in_channels, self.kernel_size)
        weight = self.param("conv.weight", nn.initializers.lecun_normal(1, 0), shape)
        t = x.shape[1]
        if self.history:
            x = jnp.concatenate([previous, x], axis=1)
        span = t - self.stride + 1
        starts = [k * self.dilation for k in range(self.kernel_size)]
        taps = [x[:, start : start + span : self.stride] for start in starts]
        patches = taps[0] if len(taps) == 1 else jnp.stack(taps, axis=-1)
        y = contract(
            patches.reshape(x.shape[0], t // self.stride, -1),
            weight.reshape(self.out_channels, -1),
        )
        if self.use_bias:
            bias = self.param("conv.bias", nn.initializers.zeros_init(), (self.out_channels,))
            y = y + bias[None, None]
        return y, x[:, x.shape[1] - self.history :]


class ConvTranspose1d(nn.Module):
    """Causal transposed convolution with a kernel of two strides.

    Its state is the second half of the last input's response, without the bias: the bias belongs
    to each output sample once. `weight` is [in, out, kernel], or [channels, 1, kernel] where
    `depthwise`.
    """

    in_channels: int
    out_channels: int
    stride: int
    use_bias: bool = True
    depthwise: bool = False

    @nn.nowrap
    def init_state(self, batch: int) -> Float[Array, "b o stride"]:
        return jnp.zeros((batch, self.out_channels, self.stride), jnp.float32)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t i"], overlap: Float[Array, "b o stride"]
    ) -> tuple[Float[Array, "b u o"], Float[Array, "b o stride"]]:
        b, t, _ = x.shape
        outputs = 1 if self.depthwise else self.out_channels
        shape = (self.in_channels, outputs, 2 * self.stride)
        weight = self.param("convtr.weight", nn.initializers.lecun_normal(0, 1), shape)
        if self.depthwise:
            response = x[..., None] * weight[None, None, :, 0]
        else:
            flat = weight.reshape(self.in_channels, -1)
            response = (x.reshape(b * t, -1) @ flat).reshape(b, t, self.out_channels, -1)
        head, tail = jnp.split(response, 2, axis=-1)
        y = head + jnp.concatenate([overlap[:, None], tail[:, :-1]], axis=1)
        y = y.swapaxes(2, 3).reshape(b, t * self.stride, self.out_channels)
        if self.use_bias:
            bias = self.param("convtr.bias", nn.initializers.zeros_init(), (self.out_channels,))
            y = y + bias[None, None]
        return y, tail[:, -1]


def elu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """ELU (Clevert et al. 2015) without a branch, which stays one delegated subgraph on a phone."""
    return jnp.maximum(x, jnp.exp(jnp.minimum(x, 0)) - 1)


def replicate_start(
    x: Float[Array, "b t c"], previous: Float[Array, "b history c"], position: Array
) -> Float[Array, "b history c"]:
    """History of a convolution that pads the start of a stream with its first sample."""
    start = jnp.broadcast_to(x[:, :1], previous.shape)
    return jnp.where((position == 0)[:, None, None], start, previous)


