"""Linear layers and norms, with parameters named and laid out as in the checkpoint."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class Linear(nn.Module):
    """y = x·weightᵀ + bias, with the weight stored [out, in] as in the checkpoint.

    Rows that are contiguous over the inputs also suit a matrix-vector product on a CPU: one
    sequential read per output.
    """

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        shape = (self.features, x.shape[-1])
        weight = self.param("weight", nn.initializers.lecun_normal(in_axis=1, out_axis=0), shape)
        y = contract(x, weight)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            y = y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
        return y


def contract(x: Float[Array, "*b i"], weight: Float[Array, "o i"]) -> Float[Array, "*b o"]:
    """x·weightᵀ over the last axis of both, as one two-dimensional product."""
    rows = x.reshape(-1, x.shape[-1])
    y = jax.lax.dot_general(rows, weight, (((1,), (1,)), ((), ())))
    return y.reshape(*x.shape[:-1], weight.shape[0])


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis (Ba et al. 2016), biased variance."""

    eps: float
    affine: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        mean = jnp.mean(x, axis=-1, keepdims=True)
        centred = x - mean
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        y = centred * jax.lax.rsqrt(variance + self.eps)
        if not self.affine:
            return y
        weight = self.param("weight", nn.initializers.ones_init(), x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
        lead = (1,) * (x.ndim - 1)
        return y * weight.reshape(*lead, -1) + bias.reshape(*lead, -1)


class VarianceNorm(nn.Module):
    """The "RMS norm" of the timestep embedder: x·alpha / √(eps + var(x)).

    It divides by the *unbiased variance* instead of the mean square, and does not centre. The
    published weights were trained with it.
    """

    eps: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        alpha = self.param("alpha", nn.initializers.ones_init(), x.shape[-1:])
        variance = jnp.var(x, axis=-1, ddof=1, keepdims=True)
        return x * alpha.reshape((1,) * (x.ndim - 1) + (-1,)) * jax.lax.rsqrt(variance + self.eps)


class LayerScale(nn.Module):
    """One learned factor per channel (Touvron et al. 2021)."""

    init: float

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        scale = self.param("scale", nn.initializers.constant(self.init), x.shape[-1:])
        return x * scale.reshape((1,) * (x.ndim - 1) + (-1,))
