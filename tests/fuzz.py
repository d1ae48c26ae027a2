"""Look for inputs that are no clear error: `python -m tests.fuzz --minutes 5`.

Hypothesis makes texts, lexicons, settings, configurations and damaged files. What it finds is kept
in `tests/faults/corpus/`, whose files `tests/faults/test_corpus.py` reads for ever.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.errors import TTSError
from tests.faults.corpus import CORPUS, READERS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
LONGEST_SECONDS = 2.0


def documents(kind: str) -> st.SearchStrategy[bytes]:
    """Contents for one kind of file: plausible ones with a wrong value, and any bytes."""
    if kind == "config.yaml":
        return st.builds(_config, st.integers(0, 200), JSON) | st.binary(max_size=200)
    text = JSON.map(lambda value: json.dumps(value).encode())
    return text | st.binary(max_size=200)


def _config(index: int, value: object) -> bytes:
    """A published configuration with one value replaced. YAML reads JSON."""
    import yaml

    raw = yaml.safe_load(packaged_config("english").read_text(encoding="utf-8"))
    places = list(_places(raw))
    parent, key = places[index % len(places)]
    parent[key] = value
    return json.dumps(raw).encode()


def _places(tree: dict) -> list[tuple[dict, str]]:
    found = []
    for key, value in tree.items():
        found.append((tree, key))
        if isinstance(value, dict):
            found += _places(value)
    return found


def is_wrong(read: Callable[[Path], object], path: Path, data: bytes) -> bool:
    """Whether reading gives another error than this package's, or takes too long."""
    path.write_bytes(data)
    start = time.monotonic()
    try:
        read(path)
    except TTSError:
        pass
    except Exception:
        return True
    return time.monotonic() - start > LONGEST_SECONDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    args = parser.parse_args()
    end, tried, found = time.monotonic() + 60 * args.minutes, 0, []
    assert load_config(packaged_config("english"))
    with tempfile.TemporaryDirectory() as place:
        while time.monotonic() < end:
            for name, read in READERS.items():
                path, examples = Path(place) / name, 0

                def wrong(data: bytes, path: Path = path, read: Callable = read) -> bool:
                    nonlocal examples
                    examples += 1
                    return is_wrong(read, path, data)

                limits = settings(
                    max_examples=300,
                    deadline=None,
                    database=None,
                    derandomize=False,
                    phases=(Phase.generate, Phase.shrink),
                    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
                )
                try:
                    data = find(documents(name), wrong, settings=limits)
                except NoSuchExample:
                    continue
                finally:
                    tried += examples
                found.append(CORPUS / f"{len(list(CORPUS.iterdir())):03d}-{name}")
                found[-1].write_bytes(data)
                print(f"found {found[-1]}", flush=True)
    print(f"{tried} inputs, {len(found)} of them no clear error")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
