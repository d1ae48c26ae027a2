"""What all tests share."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.folders import TESTS

if TYPE_CHECKING:
    from pocket_tts_jax.config import Config
    from pocket_tts_jax.testing.random_checkpoint import Tensors
    from tests.cli_stub import StubModel

settings.register_profile(  # the same examples on every run, and not timed
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


# Folders whose tests compile nothing: `./run test -m quick` takes a minute.
QUICK = ("audio", "captions", "files", "generation", "text", "voice", "alignment")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tests."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        slower = item.get_closest_marker("slow") or item.get_closest_marker("reference")
        if folder in QUICK and not slower:
            item.add_marker("quick")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove what the processes of pytest-xdist shared (see `tests/exported.py`)."""
    if hasattr(session.config, "workerinput"):
        return
    nodes = session.config.pluginmanager.get_plugin("dsession")
    if nodes is not None:
        run = getattr(nodes.nodemanager, "testrunuid", None)
        shutil.rmtree(Path(tempfile.gettempdir()) / f"pocket-tts-export-{run}", ignore_errors=True)


@pytest.fixture
def strict() -> Iterator[None]:
    """JAX as the model's code is meant: no dtype and no rank is promoted in silence."""
    import jax

    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The command line and the benchmarks set up logging for their whole process."""
    loggers = [logging.getLogger(name) for name in ("pocket_tts_jax", "pocket_tts_jax.files.hub")]
    before = [(logger, logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    disabled = logging.root.manager.disable
    yield
    for logger, handlers, propagate, level in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
    logging.disable(disabled)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "StubModel":
    """The model that commands open, in an empty folder."""
    from pocket_tts_jax.tts_model import TTSModel
    from tests.cli_stub import StubModel

    stub = StubModel()
    monkeypatch.setattr(TTSModel, "load_model", stub.load_model)
    monkeypatch.chdir(tmp_path)
    return stub


@pytest.fixture(scope="session")
def lsd_config() -> "Config":
    """A tiny model with an `lsd` head."""
    from pocket_tts_jax.testing.tiny_model import tiny_config

    return tiny_config("lsd")


@pytest.fixture(scope="session")
def lsd_tensors(lsd_config: "Config") -> "Tensors":
    """Its random weights, for tests that change copies."""
    from pocket_tts_jax.testing.random_checkpoint import random_tensors

    return random_tensors(lsd_config)
