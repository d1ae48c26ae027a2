"""Where the tests find files: of this repository, and data that a checkout may lack."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
SHARED = ROOT.parent / "shared"
