"""The soak of the server, for a few seconds."""

import pytest

from tests.server.soak import soak


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_few_seconds_of_everything():
    found = soak(6, 6)
    assert found["wrong"] == []
    assert len(found["kinds"]) >= 6  # type: ignore[arg-type]
