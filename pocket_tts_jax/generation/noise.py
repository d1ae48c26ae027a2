"""The noise of the sampler, the same bits in every engine (docs/noise.md is its specification).

A counter-based generator: each value is a function of (seed, chunk, attempt, index), so a chunk
does not depend on the length of the chunk before it. Philox4x64-10 (Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3", 2011) gives the bits, Wichura's AS 241 ("The
percentage points of the normal distribution", Applied Statistics 37, 1988) the normal deviates. All
operations after the bits are rounded exactly by IEEE 754, in double precision, so the results do
not depend on a mathematics library.
"""

import functools
import math

import numpy as np
from numpy.random import Philox

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.shapes import Float, UInt64

Key = tuple[int, int]
"""The two 64-bit words of a Philox4x64 key."""

_WORDS = 4  # per Philox block
_UNIT = 2.0**-53

# The coefficients of PPND16 in the paper, constant term first: the centre, up to and beyond the
# switch at sqrt(-log p) = 5. Each pair is a numerator and a denominator.
_CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_NEAR = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)

_LOG_TERMS = tuple(1.0 / (2 * n + 1) for n in range(12))
_LOG_2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476


def chunk_key(seed: int, chunk: int, attempt: int = 0) -> Key:
    """The key of one text chunk: (seed, attempt * 2**32 + chunk).

    `seed` is in [0, 2**64). `chunk` counts from 0; `attempt` counts repeated tries of a chunk. Both
    are below 2**32. Raises ConfigError outside these ranges.
    """
    for name, value, bits in (("seed", seed, 64), ("chunk", chunk, 32), ("attempt", attempt, 32)):
        if not isinstance(value, int | np.integer) or not 0 <= value < 1 << bits:
            raise ConfigError(
                f"{name}: expected a whole number from 0 to 2**{bits} - 1, got {value!r}"
            )
    return int(seed), int(attempt) << 32 | int(chunk)


def noise(
    key: Key,
    first_frame: int,
    frames: int,
    width: int,
    temperature: float,
    clamp: float | None = None,
) -> Float[np.ndarray, "frames width"]:
    """Normal noise of variance `temperature` for `frames` frames from `first_frame` on, float32.

    With `clamp` the distribution is truncated to [-clamp, clamp], in the units of the noise (not of
    its standard deviation). Equal arguments give equal bits. A frame's values do not depend on the
    call that includes it; one call for many frames is much cheaper than one for each. Raises
    ConfigError for a negative temperature or a clamp that is not positive.
    """
    if not temperature >= 0 or math.isinf(temperature):
        raise ConfigError(f"temperature: expected a number from 0 up, got {temperature}")
    if clamp is not None and not clamp > 0:
        raise ConfigError(f"noise_clamp: expected a number above 0, or none at all, got {clamp}")
    if temperature == 0:
        return np.zeros((frames, width), np.float32)
    scale = math.sqrt(temperature)
    uniform = uniforms(random_words(key, first_frame * width, frames * width))
    if clamp is not None:
        below = _mass_below(-clamp / scale)
        uniform = below + uniform * (1.0 - 2.0 * below)
    values = inverse_normal(uniform) * scale
    if clamp is not None:
        values = np.clip(values, -clamp, clamp)  # removes rounding errors of the two lines above
    return values.astype(np.float32).reshape(frames, width)


def random_words(key: Key, start: int, count: int) -> UInt64[np.ndarray, " count"]:
    """Words [start, start + count) of the key's stream: word n is word n % 4 of block n // 4.

    Block b is Philox4x64-10 of the 256-bit counter b, its lowest 64 bits in the first word.
    """
    first_block, skipped = divmod(start, _WORDS)
    # NumPy steps the counter before it makes a block, so its counter starts one too low.
    counter = (first_block - 1) % (1 << 256)
    generator = Philox(counter=counter, key=key[0] | key[1] << 64)
    return generator.random_raw(skipped + count)[skipped:]


def uniforms(words: UInt64[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Uniform float64 numbers inside (0, 1): odd multiples of 2**-53, chosen by the upper 52 bits.

    The set is symmetric about 1/2, contains neither 0 nor 1, and each member is exact.
    """
    return ((words >> np.uint64(12)).astype(np.float64) * 2.0 + 1.0) * _UNIT


def inverse_normal(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The quantile of the standard normal distribution at p in (0, 1), in float64.

    AS 241's PPND16, with a relative accuracy of a few times 1e-16.
    """
    q = p - 0.5
    centre = 0.180625 - q * q
    value = q * (_polynomial(_CENTRE[0], centre) / _polynomial(_CENTRE[1], centre))
    tail = np.abs(q) > 0.425
    if tail.any():
        outside = p[tail]
        r = np.sqrt(-_log(np.minimum(outside, 1.0 - outside)))
        near, far = r - 1.6, r - 5.0
        distance = np.where(
            r <= 5.0,
            _polynomial(_NEAR[0], near) / _polynomial(_NEAR[1], near),
            _polynomial(_FAR[0], far) / _polynomial(_FAR[1], far),
        )
        value[tail] = np.where(q[tail] < 0, -distance, distance)
    return value


def _polynomial(
    coefficients: tuple[float, ...], x: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Horner's rule, one rounded multiplication and one rounded addition a step."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _log(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Natural logarithm of positive normal numbers, from + - * / only.

    log(m 2**e) = e log 2 + 2 artanh(s), s = (m - 1) / (m + 1), with m in [sqrt(1/2), sqrt(2)),
    where 12 terms of the series suffice.
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = exponent.astype(np.float64) - low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return exponent * _LOG_2 + 2.0 * s * _polynomial(_LOG_TERMS, s * s)


@functools.lru_cache(maxsize=16)
def _mass_below(z: float) -> float:
    """The largest multiple of 2**-53 at which `inverse_normal` is at most `z` < 0; 0 if none is.

    Found by bisection, so that a port gets the same bits without an error function.
    """
    low, high = 0, 1 << 52
    while high - low > 1:
        middle = (low + high) // 2
        if inverse_normal(np.array([middle * _UNIT]))[0] <= z:
            low = middle
        else:
            high = middle
    return low * _UNIT
