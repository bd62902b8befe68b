"""The default policy on made-up traces of other shapes than the recorded one: nowhere is another rule far better."""

from functools import cache

import pytest

from kit.shapes import SHAPES, hosts_of
from ramshare.policy.registry import DEFAULT_POLICY, policy_names
from ramshare_lab.policies.compare import compare
from ramshare_lab.policies.score import Score

pytestmark = pytest.mark.unit

EARLY_RATE = 0.1
"""Twice the goal on the recorded trace: the other rules that lend as much take back a fifth to nine tenths."""

LENT_CHANCE = 0.05
"""How much more another policy may lend at no more harm before it counts as better. With a dozen harms a shape, less
than that is chance; and where hosts change their work every few days (`regimes`), what they did before teaches little,
and a fixed reserve does about as well."""


@cache
def scores(shape: str) -> dict[str, Score]:
    return {point.policy: point.score for point in compare(hosts_of(shape, hosts=4, days=28), policy_names())}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_other_policy_lends_far_more_at_no_more_harm_and_no_more_early_revocations(shape: str) -> None:
    ours = scores(shape)[DEFAULT_POLICY]
    for name, other in scores(shape).items():
        assert (
            name == DEFAULT_POLICY
            or other.lent_of_oracle < ours.lent_of_oracle + LENT_CHANCE
            or other.harm_rate > ours.harm_rate
            or other.early_rate > ours.early_rate
        ), f"{name} is better on {shape}: {other} against {ours}"


@pytest.mark.parametrize("shape", SHAPES)
def test_loans_last_and_harm_stays_rare_on_every_shape(shape: str) -> None:
    ours = scores(shape)[DEFAULT_POLICY]
    assert ours.early_rate < EARLY_RATE
    assert ours.harm_rate < 0.001
    assert ours.lent_of_oracle > 0.2


def test_shapes_are_the_same_every_time_and_no_guest_claims_what_cannot_be() -> None:
    for shape in SHAPES:
        first, again = hosts_of(shape, hosts=1, days=7)[0], hosts_of(shape, hosts=1, days=7)[0]
        assert first.used_bytes.tolist() == again.used_bytes.tolist()
        assert first.honest and len(first.at_s) == 7 * 288
