"""The names of the engines."""

from enum import StrEnum


class EngineName(StrEnum):
    jax = "jax"
    litert = "litert"
