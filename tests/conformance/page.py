"""Writes the table of cases into docs/servers.md: ``python -m tests.conformance.page``."""

from collections import Counter
from pathlib import Path

from tests.conformance.cases import CASES
from tests.conformance.catalogue import CATALOGUE, SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "servers.md"
BEGIN, END = "<!-- the table of cases begins -->\n", "<!-- the table of cases ends -->\n"


def table() -> str:
    """The table, a part for each section of the catalogue."""
    counts = Counter(case.q for case in CASES)
    titles = {first: title for title, first in SECTIONS.items()}
    lines: list[str] = []
    for row in CATALOGUE:
        if row.q in titles:
            lines += [
                "",
                f"### {titles[row.q]}",
                "",
                "| | what servers do | which | what agentkit does | cases |",
                "|---|---|---|---|---|",
            ]
        lines.append(f"| Q{row.q} | {row.what} | {row.who} | {row.does} | {counts[row.q]} |")
    return "\n".join([*lines, "", ""])


def written(page: str) -> str:
    """The page with the table of today."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
