"""Kill -9 of writers at any moment: no user's memory is lost, none mixed up, in a folder and on a server."""

import json

import pytest
from tests.apart import ROOT, python
from tests.stores.servers import PROGRAM


def test_100_kills_of_each_store_lose_nothing_and_mix_nothing_up() -> None:
    """Two writers at a time in processes of their own, killed together, fifty times."""
    benchmark = ROOT / "benchmarks" / "store.py"
    ended = python("-W", "error", benchmark, "--users", "40", "--kills", "50", add={"TERM": "dumb"})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads(ended.stdout.splitlines()[-1])
    for result in filter(None, results.values()):
        assert (result["kills"], result["num_faults"], result["every_user_listed"]) == (100, 0, True)
        # The kills met writers at work.
        assert result["saves_between_kills"] > 20
    assert results["folder"]["kills_inside_a_write"] > 0
    if PROGRAM is None:
        pytest.skip("there is no redis-server, so the other half was not tested")
