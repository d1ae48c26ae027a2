"""Speaks rows on a Ray cluster: Ray Data with actors that keep the model.

Results come back to the process that reads the corpus, which writes them; the nodes need no folder
in common. Ray begins actors as there are processors for them, and replaces those that end.
"""

import logging
import os
import pickle
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from pocket_tts_jax.bulk.rows import Row
from pocket_tts_jax.bulk.speaker import MakeSpeaker, Result, speak_all
from pocket_tts_jax.errors import ConfigError, GenerationError

LOCAL = "local"
# Rows that an actor is given at once: it idles at their end, and speaks them again after a loss.
_ROWS_AT_ONCE = 64


def speak_on_ray(
    rows: Sequence[Row], make: MakeSpeaker, workers: int | None, address: str = LOCAL
) -> Generator[list[Result], None, None]:
    """The results of all rows, as they come.

    `address` is that of a running cluster ("auto" finds the one of this machine), or `LOCAL` for
    one that lasts as long as this. `workers` limits the actors, each of which takes a processor;
    None is as many as there are. Raises ConfigError without the package ray or for an address
    where no cluster is, and GenerationError where Ray gives up.
    """
    ray = require_ray()
    _connect(ray, address)
    try:
        yield from _results(ray, rows, make, workers)
    except ray.exceptions.RayError as error:
        raise GenerationError(
            f"Ray gave up: {error}. The same command goes on with what is missing."
        ) from error
    finally:
        ray.shutdown()


def require_ray() -> Any:
    """The package ray with its Data. Raises ConfigError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its errors come as exceptions
    os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's 15, other programs come first
    try:
        import ray
        import ray.data
    except ImportError:
        raise ConfigError(
            'Several machines need the package ray: pip install "pocket-tts-jax[ray]".'
        ) from None
    return ray


class SpeakingActor:
    """What Ray keeps in each process: batches of pickled rows in, pickled results out."""

    def __init__(self, make: MakeSpeaker) -> None:
        self._speaker = make()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        rows = [pickle.loads(row) for row in batch["row"]]
        # The longest first: the others fill the places that become free.
        rows.sort(key=lambda row: len(row.text), reverse=True)
        return {"result": [pickle.dumps(result) for result in speak_all(self._speaker, rows)]}


def _connect(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(
            **({"include_dashboard": False} if address == LOCAL else {}), address=address, **quiet
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"There is no Ray cluster at {address!r} ({error}): start one (ray start --head), or "
            "leave the address out for one on this machine."
        ) from error


def _results(
    ray: Any, rows: Sequence[Row], make: MakeSpeaker, workers: int | None
) -> Generator[list[Result], None, None]:
    there = max(1, int(ray.cluster_resources().get("CPU", 1)))
    most = there if workers is None else workers
    # Small corpora are cut small, so that all actors have something to do until the end.
    batch = max(1, min(_ROWS_AT_ONCE, len(rows) // (4 * most)))
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    items = [{"row": pickle.dumps(row)} for row in rows]
    blocks = -(-len(rows) // batch)
    results = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        SpeakingActor,
        fn_constructor_args=(make,),
        batch_size=batch,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=most, initial_size=min(most, there)
        ),
    )
    for found in results.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        yield [pickle.loads(result) for result in found["result"]]
