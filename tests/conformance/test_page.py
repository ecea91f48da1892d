"""The page on servers says what the suite does."""

from tests.conformance.catalogue import CATALOGUE
from tests.conformance.page import PAGE, written


def test_the_page_holds_the_table_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run: python -m tests.conformance.page"


def test_the_catalogue_has_every_number_once() -> None:
    assert [row.q for row in CATALOGUE] == list(range(1, 51))
