"""A short walk through everything that reads bytes from outside; the long one is ``python -m tests.fuzz``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fuzz.harnesses import HARNESSES

_EXAMPLES, _SLOW_EXAMPLES = 150, 25


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs that are understood, with a few bytes replaced, put in, taken out or repeated; and some that are garbage."""

    def change(seed: bytes, edits: list[tuple[float, int, bytes, int]]) -> bytes:
        for place, taken, put, times in edits:
            at = int(place * len(seed))
            seed = seed[:at] + put * times + seed[at + taken :]
        return seed

    edit = st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=8), st.sampled_from((0, 1, 1, 1, 300)))
    return st.builds(change, st.sampled_from(seeds), st.lists(edit, min_size=1, max_size=4)) | st.binary(max_size=200)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Refusals are no news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore")  # of libraries that are given garbage
@pytest.mark.parametrize(
    # The standard address space of OPC UA takes ten seconds to load; test_opcua_attacks.py sends garbage to a running server.
    "name",
    [pytest.param(name, marks=pytest.mark.by_hand) if name == "opcua" else name for name in HARNESSES],
)
def test_whatever_comes_is_read_or_refused(name: str) -> None:
    harness = HARNESSES[name]
    seeds = harness.seeds()
    for seed in seeds:
        harness.run(seed)

    @settings(
        max_examples=_SLOW_EXAMPLES if harness.slow else _EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(seeds))
    def walk(data: bytes) -> None:
        harness.run(data)

    walk()


def test_the_rest_interface_that_is_fuzzed_answers() -> None:
    """One that refuses everything would pass for ever."""
    from tests.fuzz import network

    answered: list[int] = []
    app = network._web()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def watch(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])
            await send(message)

        await app(scope, receive, watch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network, "_web", lambda: watched)
        for seed in network._rest_seeds():
            network.rest(seed)
    assert sum(200 <= status < 300 for status in answered) > 15
    assert len(set(answered)) > 4
