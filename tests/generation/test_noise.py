"""The noise generator against its specification, the standard library and the reference."""

import re
from statistics import NormalDist

import numpy as np
import pytest

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.generation.noise import (
    _log,
    _mass_below,
    chunk_key,
    inverse_normal,
    noise,
    random_words,
    uniforms,
)
from tests.folders import ROOT

SPECIFICATION = ROOT / "docs" / "noise.md"
MASK = (1 << 64) - 1


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """Philox4x64-10 of one 256-bit counter, written from the paper with Python's integers."""
    c = [counter >> 64 * i & MASK for i in range(4)]
    k0, k1 = key
    for _ in range(10):
        first, second = c[0] * 0xD2E7470EE14C6C93, c[2] * 0xCA5A826395121157
        c = [second >> 64 ^ c[1] ^ k0, second & MASK, first >> 64 ^ c[3] ^ k1, first & MASK]
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & MASK, k1 + 0xBB67AE8584CAA73B & MASK
    return c


def rows() -> list[list[str]]:
    lines = SPECIFICATION.read_text(encoding="utf-8").splitlines()
    return [re.findall(r"[^|` ]+", line) for line in lines if re.match(r"\| \d", line)]


def bits(value: str) -> float:
    return float(np.array(int(value, 16), np.uint32).view(np.float32)[()])


def test_vectors_of_the_specification():
    key = chunk_key(42, 3)
    words = random_words(key, 0, 8)
    normal = inverse_normal(uniforms(words))
    plain, clamped = noise(key, 0, 1, 8, 0.3)[0], noise(key, 0, 1, 8, 0.3, 0.5)[0]
    table = rows()
    assert len(table) == 8
    for n, word, uniform, deviate, single, limited in table:
        i = int(n)
        assert f"{words[i]:016x}" == word
        assert uniforms(words)[i] == float.fromhex(uniform)
        assert normal[i] == float.fromhex(deviate)
        assert plain[i] == bits(single)
        assert clamped[i] == bits(limited)


def test_the_authors_known_answers():
    zeros = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert random_words((0, 0), 0, 4).tolist() == zeros == philox(0, (0, 0))


@pytest.mark.parametrize(
    ("key", "start", "count"),
    [
        (chunk_key(1234, 7), 0, 13),
        (chunk_key(MASK, (1 << 32) - 1, attempt=9), 3, 10),
        (chunk_key(5, 0), 4 * (1 << 64) - 2, 6),  # the counter carries into its second word
    ],
)
def test_words_are_the_published_generators(key, start, count):
    expected = [philox(n // 4, key)[n % 4] for n in range(start, start + count)]
    assert random_words(key, start, count).tolist() == expected


def test_frames_depend_only_on_their_own_place():
    key = chunk_key(42, 1)
    whole = noise(key, 0, 50, 32, 0.3)
    pieces = [noise(key, first, frames, 32, 0.3) for first, frames in ((0, 1), (1, 7), (8, 42))]
    assert np.array_equal(np.concatenate(pieces), whole)
    # A width that is no multiple of a block's four words starts inside blocks.
    odd = noise(key, 0, 9, 7, 1.0)
    assert np.array_equal(noise(key, 5, 4, 7, 1.0), odd[5:])


def test_keys_tell_seed_chunk_and_attempt_apart():
    keys = [chunk_key(s, c, a) for s in (0, 1) for c in (0, 1) for a in (0, 1)]
    draws = [noise(key, 0, 4, 32, 1.0).tobytes() for key in keys]
    assert len(set(draws)) == len(keys)


def test_uniforms_never_reach_the_ends():
    ends = uniforms(np.array([0, MASK], np.uint64))
    assert ends.tolist() == [2.0**-53, 1 - 2.0**-53]
    assert np.isfinite(inverse_normal(ends)).all()
    assert inverse_normal(ends)[0] == -inverse_normal(ends)[1]


def test_inverse_normal_is_the_standard_librarys():
    tails = np.concatenate([10.0 ** -np.arange(1, 16), np.linspace(0.05, 0.95, 201)])
    p = np.concatenate([uniforms(random_words((3, 1), 0, 4000)), tails, 1 - tails[:12]])
    expected = np.array([NormalDist().inv_cdf(float(x)) for x in p])
    np.testing.assert_allclose(inverse_normal(p), expected, rtol=2e-15, atol=5e-16)
    assert np.array_equal(inverse_normal(p).astype(np.float32), expected.astype(np.float32))


def test_logarithm():
    x = np.concatenate([uniforms(random_words((3, 2), 0, 4000)), 2.0 ** -np.arange(54)])
    np.testing.assert_allclose(_log(x), np.log(x), rtol=5e-16)


def test_distribution():
    values = noise(chunk_key(0, 0), 0, 1000, 32, 0.3).ravel() / np.sqrt(0.3)
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / values.size)
    # Kolmogorov-Smirnov distance; 1.95 / sqrt(n) is exceeded once in a thousand tries.
    cdf = np.array([NormalDist().cdf(float(x)) for x in np.sort(values)])
    ranks = np.arange(1, values.size + 1) / values.size
    assert np.abs(cdf - ranks).max() < 1.95 / np.sqrt(values.size)


def test_neighbouring_keys_and_frames_are_uncorrelated():
    draws = np.stack([noise(chunk_key(s, c), 0, 64, 32, 1.0) for s in (0, 1) for c in (0, 1)])
    series = np.concatenate([draws.reshape(4, -1), np.roll(draws, 1, axis=1).reshape(4, -1)])
    correlation = np.corrcoef(series) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(64 * 32)


@pytest.mark.parametrize("clamp", [0.05, 0.5, 1.0, 3.0])
def test_truncation_rescales_the_distribution(clamp):
    values = noise(chunk_key(1, 0), 0, 1000, 32, 0.3, clamp).ravel()
    assert np.abs(values).max() <= np.float32(clamp)
    normal = NormalDist(0, np.sqrt(0.3))
    below, mass = normal.cdf(-clamp), 1 - 2 * normal.cdf(-clamp)
    cdf = np.array([(normal.cdf(float(x)) - below) / mass for x in np.sort(values)])
    ranks = np.arange(1, values.size + 1) / values.size
    assert np.abs(cdf - ranks).max() < 1.95 / np.sqrt(values.size)
    assert _mass_below(-clamp / np.sqrt(0.3)) == pytest.approx(below, rel=1e-9, abs=2.0**-52)


def test_a_clamp_out_of_reach_changes_nothing():
    key = chunk_key(8, 0)
    assert np.array_equal(noise(key, 0, 50, 32, 0.3, 100.0), noise(key, 0, 50, 32, 0.3))


def test_temperature_zero_is_silence():
    assert not noise(chunk_key(0, 0), 0, 3, 32, 0.0, 1.0).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda: chunk_key(-1, 0),
        lambda: chunk_key(1 << 64, 0),
        lambda: chunk_key(0, 1 << 32),
        lambda: chunk_key(1.5, 0),  # pyright: ignore[reportArgumentType]
        lambda: noise((0, 0), 0, 1, 32, -0.1),
        lambda: noise((0, 0), 0, 1, 32, float("nan")),
        lambda: noise((0, 0), 0, 1, 32, 0.3, 0.0),
    ],
)
def test_values_out_of_range_are_refused(call):
    with pytest.raises(ConfigError, match="expected"):
        call()


@pytest.mark.reference
@pytest.mark.parametrize("clamp", [0.2, 0.6])
def test_clamped_noise_has_the_references_distribution(clamp):
    pytest.importorskip("pocket_tts")
    import torch

    theirs = torch.empty(40000)
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.trunc_normal_(theirs, std=0.3**0.5, a=-clamp, b=clamp, generator=generator)
    ours = np.sort(noise(chunk_key(2, 0), 0, 1250, 32, 0.3, clamp).ravel())
    # Two-sample Kolmogorov-Smirnov distance at a level of one in a thousand.
    ranks = np.searchsorted(ours, np.sort(theirs.numpy())) / ours.size
    distance = np.abs(ranks - np.arange(1, 40001) / 40000).max()
    assert distance < 1.95 * np.sqrt(2 / 40000)
