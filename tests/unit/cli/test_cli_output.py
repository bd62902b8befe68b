import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from ramshare.cli.output import age, one_line, parse_size, size
from ramshare.messages.base import MAX_BYTES

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("given_bytes", "words"),
    [(0, "0"), (1, "1 B"), (1023, "1023 B"), (640 << 10, "640 KiB"), (512 << 20, "512 MiB"), (3 << 29, "1.5 GiB")],
)
def test_sizes_read_as_people_write_them(given_bytes: int, words: str) -> None:
    assert size(given_bytes) == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [("512M", 512 << 20), ("1.5GiB", 3 << 29), ("4096", 4096), ("1 k", 1024), ("2tb", 2 << 40), ("7B", 7)],
)
def test_sizes_are_understood_in_the_usual_spellings(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "0M", "-1", "-5M", "1e9", "M", "12X", "nan", "inf", "1,5G", "0.0000001", "9" * 18 + "T", "９M"]
)
def test_a_size_of_nothing_less_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


@given(st.text(max_size=30))
def test_no_text_makes_an_impossible_size(text: str) -> None:
    try:
        found = parse_size(text)
    except typer.BadParameter:
        return
    assert 0 < found <= MAX_BYTES


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "-"), (0.2, "0 s"), (90, "90 s"), (300, "5 min"), (9000, "2 h"), (3e5, "3 d")]
)
def test_ages_come_in_the_largest_fitting_unit(seconds: float | None, words: str) -> None:
    assert age(seconds) == words


def test_text_from_elsewhere_cannot_paint_the_terminal() -> None:
    assert one_line("a\x1b[31mred\nnext\r\x07") == "a [31mred next  "
