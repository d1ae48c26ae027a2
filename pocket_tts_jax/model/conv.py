"""Causal convolutions that stream, written as matrix products.

Activations are channels-last [b, t, c]. On a CPU a matrix product is the fastest form: XLA's own
convolution is several times slower at these shapes. The checkpoint stores a kernel's taps
innermost, the activations need them outermost; each layer transposes the smaller of the two.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from pocket_tts_jax.model.layers import contract


class Conv1d(nn.Module):
    """Causal convolution. Its state is the last `history` inputs of the stream.

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
        """Number of inputs that a call needs from the calls before it."""
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
        if weight.size < x.shape[0] * t // self.stride * self.in_channels * self.kernel_size:
            patches, weight = jnp.concatenate(taps, axis=-1), weight.swapaxes(1, 2)
        else:
            patches = jnp.stack(taps, axis=-1).reshape(x.shape[0], t // self.stride, -1)
        y = contract(patches, weight.reshape(self.out_channels, -1))
        if self.use_bias:
            bias = self.param("conv.bias", nn.initializers.zeros_init(), (self.out_channels,))
            y = y + bias[None, None]
        return y, x[:, x.shape[1] - self.history :]


class ConvTranspose1d(nn.Module):
    """Causal transposed convolution with a kernel of two strides.

    Its state is the second half of the last input's response, without the bias, which is added to
    each output once. `weight` is [in, out, kernel], or [channels, 1, kernel] if `depthwise`.
    """

    in_channels: int
    out_channels: int
    stride: int
    use_bias: bool = True
    depthwise: bool = False

    @nn.nowrap
    def init_state(self, batch: int) -> Float[Array, "b stride o"]:
        return jnp.zeros((batch, self.stride, self.out_channels), jnp.float32)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t i"], overlap: Float[Array, "b stride o"]
    ) -> tuple[Float[Array, "b u o"], Float[Array, "b stride o"]]:
        b, t, _ = x.shape
        outputs = 1 if self.depthwise else self.out_channels
        shape = (self.in_channels, outputs, 2 * self.stride)
        weight = self.param("convtr.weight", nn.initializers.lecun_normal(0, 1), shape)
        if self.depthwise:
            response = x[:, :, None] * weight[None, None, :, 0].swapaxes(2, 3)
        else:
            response = self._responses(x, weight)
        head, tail = jnp.split(response, 2, axis=2)  # [b, t, stride, o]
        y = head + jnp.concatenate([overlap[:, None], tail[:, :-1]], axis=1)
        y = y.reshape(b, t * self.stride, self.out_channels)
        if self.use_bias:
            bias = self.param("convtr.bias", nn.initializers.zeros_init(), (self.out_channels,))
            y = y + bias[None, None]
        return y, tail[:, -1]

    def _responses(
        self, x: Float[Array, "b t i"], weight: Float[Array, "i o kernel"]
    ) -> Float[Array, "b t kernel o"]:
        """The contribution of each input to the outputs of its two strides."""
        b, t, _ = x.shape
        rows, kernel = x.reshape(b * t, -1), weight.shape[2]
        if weight.size < b * t * self.out_channels * kernel:
            flat = weight.swapaxes(1, 2).reshape(self.in_channels, -1)
            return (rows @ flat).reshape(b, t, kernel, self.out_channels)
        response = rows @ weight.reshape(self.in_channels, -1)
        return response.reshape(b, t, self.out_channels, kernel).swapaxes(2, 3)


def elu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """ELU (Clevert et al. 2015) without a branch; `exporters.convert.elu` looks for this form."""
    return jnp.maximum(x, jnp.exp(jnp.minimum(x, 0)) - 1)


def replicate_start(
    x: Float[Array, "b t c"], previous: Float[Array, "b history c"], position: Array
) -> Float[Array, "b history c"]:
    """History of a convolution that pads the start of a stream with its first sample."""
    start = jnp.broadcast_to(x[:, :1], previous.shape)
    return jnp.where((position == 0)[:, None, None], start, previous)
