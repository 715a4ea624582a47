"""Which version of an alias answers: shares, stickiness, what moves if weights change, and what is stored."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from math import sqrt
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidError
from models.registry import versions
from models.registry.snapshots import model_file
from models.registry.traffic import Shadow, Share, Traffic, require_sticky
from testing.harness import ROOT

#: Of three equal versions.
KNOWN = "321321313111233311313132113131222"
TEXTS = [f"customer {number}" for number in range(20_000)]


def split(*weights: float) -> Traffic:
    return Traffic(tuple(Share(version, weight) for version, weight in enumerate(weights, start=1)))


def by_text(traffic: Traffic, **options: Any) -> list[int]:
    return [traffic.drawn("model\0alias", text, **options) for text in TEXTS]


def assert_shares(drawn: list[int], traffic: Traffic) -> None:
    """Each count is within five standard deviations of what its weight says."""
    counts, total = Counter(drawn), sum(share.weight for share in traffic.shares)
    for version, weight in traffic.shares:
        p, n = weight / total, len(drawn)
        assert abs(counts[version] - n * p) < 5 * sqrt(n * p * (1 - p)) + 1e-9, counts


@pytest.mark.parametrize("weights", [(0.9, 0.1), (1, 1), (1, 2, 3, 4), (1000, 1), (1e-9, 3e-9), (5,)])
def test_each_version_gets_its_share(weights: tuple[float, ...]) -> None:
    """Of texts, and of requests without one."""
    traffic = split(*weights)
    assert_shares(by_text(traffic), traffic)
    random.seed(7)
    assert_shares([traffic.drawn("", None) for _ in TEXTS], traffic)


def test_texts_of_other_aliases_go_their_own_way() -> None:
    """Else the same customers would be in every experiment: two halves agree about half of the texts."""
    traffic = split(1, 1)
    others = [traffic.drawn("model\0other", text) for text in TEXTS]
    same = sum(one == other for one, other in zip(by_text(traffic), others, strict=True))
    assert abs(same - len(TEXTS) / 2) < 5 * sqrt(len(TEXTS) / 4)


@pytest.mark.processes
def test_the_hash_is_the_same_in_every_process_and_release() -> None:
    """Also of texts that are no valid Unicode; the numbers are those of the first release with weights."""
    texts = [*TEXTS[:30], "ä", "\udcff", ""]
    here = [split(1, 1, 1).drawn("m\0default", text) for text in texts]
    code = (
        "from models.registry.traffic import *\n"
        "traffic = Traffic(tuple(Share(version, 1.0) for version in (1, 2, 3)))\n"
        f"print([traffic.drawn('m\\0default', text) for text in {texts!a}])"
    )
    environment = {"PYTHONHASHSEED": "5"}
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert found.stdout.decode().strip() == str(here)
    assert "".join(map(str, here)) == KNOWN


@given(
    st.lists(st.floats(0.01, 100), min_size=2, max_size=6),
    st.integers(0, 5),
    st.floats(1.01, 20),
)
def test_a_weight_that_grows_moves_texts_to_its_version_alone(weights: list[float], place: int, times: float) -> None:
    """And nobody moves back, nor between two others."""
    place %= len(weights)
    grown = [weight * times if index == place else weight for index, weight in enumerate(weights)]
    for text in TEXTS[:300]:
        before, after = (split(*each).drawn("m\0a", text) for each in (weights, grown))
        assert after in (before, place + 1)


def test_a_canary_that_grows_from_a_tenth_to_a_fifth_takes_a_tenth() -> None:
    before, after = by_text(split(0.9, 0.1)), by_text(split(0.8, 0.2))
    moved = Counter((one, other) for one, other in zip(before, after, strict=True) if one != other)
    assert moved.keys() == {(1, 2)}
    assert abs(moved[1, 2] / len(TEXTS) - 0.1) < 0.02


def test_weights_count_in_proportion() -> None:
    assert by_text(split(9, 1)) == by_text(split(0.9, 0.1)) == by_text(split(90, 10))


def test_versions_that_are_left_out_give_their_texts_to_the_others() -> None:
    traffic = split(2, 1, 1)
    before, after = by_text(traffic), by_text(traffic, left_out={2})
    assert 2 not in after
    assert all(one == other for one, other in zip(before, after, strict=True) if one != 2)
    assert by_text(traffic, left_out={1, 2, 3}) == before
    assert [traffic.others(left_out) for left_out in ((), {1}, {1, 2}, {1, 2, 3})] == [True, True, False, False]


def test_the_main_version_has_the_greatest_weight() -> None:
    assert (split(1, 3, 2).main, split(1, 1).main, split(0.5).main) == (2, 1, 1)


@pytest.mark.parametrize(
    "traffic",
    [split(0.9, 0.1), Traffic((Share(3, 1.0),), Shadow(4, 0.25, True)), Traffic((Share(2, 0.1),))],
    ids=["split", "shadow", "plain"],
)
def test_the_text_holds_all(traffic: Traffic) -> None:
    text = traffic.text
    if len(traffic.shares) == 1 and traffic.shadow is None:
        assert text is None
        assert Traffic.of(2, None).numbers == [2]
    else:
        assert Traffic.of(traffic.main, text) == traffic


@pytest.mark.parametrize("value", ["", "x" * 257, 5, True, [], {}])
def test_a_text_that_cannot_be_sticky_is_refused(value: Any) -> None:
    with pytest.raises(InvalidError, match="1 to 256 characters"):
        require_sticky(value)


def test_a_text_that_can_be_sticky() -> None:
    assert [require_sticky(value) for value in (None, "x", "ä" * 256)] == [None, "x", "ä" * 256]


def test_an_alias_is_stored_and_copied_whole(connection: sa.Connection) -> None:
    """Its row has the version with the greatest weight, as one that names a version alone."""
    for _ in range(4):
        versions.publish(connection, "small", "job_1", "ckpt_1", "{}")
    wanted = Traffic((Share(1, 1.0), Share(2, 3.0)), Shadow(4, 1.0, False))
    before = versions.states(connection)
    versions.set_alias(connection, "small", "canary", wanted)
    assert versions.traffic(connection, "small", "canary") == wanted
    assert versions.aliases(connection, "small") == {"canary": 2}
    assert versions.list_aliases(connection, "small", 5, None) == [("canary", wanted)]
    assert versions.resolve(connection, "small", "canary").version == 2
    assert versions.states(connection) != before
    content = model_file(connection, "small")
    assert (content.aliases, content.traffic) == ({"canary": 2}, {"canary": wanted.text})
    before = versions.states(connection)
    versions.set_alias(connection, "small", "canary", Traffic(wanted.shares))
    assert versions.states(connection) != before
    versions.set_alias(connection, "small", "canary", 1)
    assert versions.traffic(connection, "small", "canary") == Traffic((Share(1, 1.0),))
    assert model_file(connection, "small").traffic == {}
