"""Token buckets: what a sender may send, however it spreads it, and nothing of it at another's expense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.bus.rate import Rate, TokenBuckets

pytestmark = pytest.mark.unit

RATE = Rate(per_s=2.0, burst=5)
GAPS = st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=200)


def test_a_burst_passes_and_then_as_much_as_the_rate() -> None:
    buckets = TokenBuckets(remembered=10)
    assert [buckets.take("a", RATE, 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [buckets.take("a", RATE, 1.0) for _ in range(3)] == [True, True, False]


def test_silence_fills_a_bucket_to_its_burst_and_no_further() -> None:
    buckets = TokenBuckets(remembered=10)
    buckets.take("a", RATE, 0.0)
    assert sum(buckets.take("a", RATE, 1e9) for _ in range(20)) == 5


def test_a_clock_that_goes_back_fills_nothing() -> None:
    buckets = TokenBuckets(remembered=10)
    assert sum(buckets.take("a", RATE, 100.0 - number) for number in range(20)) == 5
    assert not buckets.take("a", RATE, 100.4)


def test_no_more_senders_are_remembered_than_was_said_and_the_noisy_one_is() -> None:
    buckets = TokenBuckets(remembered=3)
    for number in range(100):
        buckets.take(f"guest.g{number}", RATE, 0.0)
        allowed = buckets.take("noisy", RATE, 0.0)
    assert len(buckets) == 3
    assert not allowed


@given(GAPS)
def test_nobody_gets_more_than_burst_and_rate_and_nobody_elses_use_counts(steps: list[tuple[str, float]]) -> None:
    both, alone = TokenBuckets(remembered=2), TokenBuckets(remembered=2)
    now, passed = 0.0, 0
    for sender, gap in steps:
        now += gap
        taken = both.take(sender, RATE, now)
        if sender == "a":
            assert taken == alone.take("a", RATE, now)
            passed += taken
    assert passed <= RATE.burst + RATE.per_s * now + 1e-6
