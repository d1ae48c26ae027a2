"""LiteRT's C interface, called by several threads."""

import subprocess
import sys

OPTIONS_AT_ONCE = """
import sys, threading
from pocket_tts_jax.litert_engine import c_api
sys.setswitchinterval(1e-6)
c_api.library()
barrier, options = threading.Barrier(16), []
def make():
    barrier.wait()
    options.append(c_api.cpu_options(1, ""))
threads = [threading.Thread(target=make) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for each in options:
    c_api.destroy_options(each)
"""


def test_threads_may_open_their_first_models_at_once() -> None:
    """A destructor of which each thread had its own crashed 5 of 12 such processes."""
    for _ in range(10):
        subprocess.run([sys.executable, "-c", OPTIONS_AT_ONCE], check=True, timeout=120)
