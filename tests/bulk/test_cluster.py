"""Ray on this machine, with several processes of which one is killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocket_tts_jax.bulk.cluster import speak_on_ray
from pocket_tts_jax.bulk.rows import Row
from pocket_tts_jax.bulk.speaker import Failed, Result
from pocket_tts_jax.errors import ConfigError
from tests.bulk.humming import Humming, hum, humming_rows

pytest.importorskip("ray", reason="needs the package ray (extra [ray])")
pytestmark = [
    pytest.mark.slow,
    # Ray's own: sockets and files that it leaves to the end of the process, and old names.
    *(pytest.mark.filterwarnings(f"ignore::{name}") for name in ("ResourceWarning",)),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def collect(found: Iterator[list[Result]]) -> dict[str, Result]:
    results = [result for some in found for result in some]
    by_id = {result.row.id: result for result in results}
    assert len(by_id) == len(results)
    return by_id


def test_ray_speaks_what_processes_speak_though_one_is_killed(tmp_path: Path) -> None:
    rows = humming_rows(40)
    rows[7] = Row(7, "bad", "fail", None, None, 7, 1.0)
    notes = tmp_path / "notes"
    notes.mkdir()
    killed: list[int] = []

    def kill_one() -> None:
        """The process that began the last of the rows that have begun."""
        while len(list(notes.iterdir())) < 8:
            time.sleep(0.05)
        newest = max(notes.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        killed.append(int(newest.read_text().split()[-1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = collect(speak_on_ray(rows, Humming(notes, seconds=0.3), workers=2))
    killer.join()
    assert found.pop("bad") == Failed(rows[7], "it was to fail")
    assert found == {row.id: hum(row) for row in rows if row.id != "bad"}
    begun = [int(line) for path in notes.iterdir() for line in path.read_text().split()]
    assert len(begun) > len(rows) and killed[0] in begun and len(set(begun)) > 1


def test_no_cluster_at_an_address() -> None:
    with pytest.raises(ConfigError, match="no Ray cluster"):
        collect(speak_on_ray(humming_rows(1), Humming(Path()), 1, "auto"))
