"""A plot of bars as SVG, without a library: one group for each row, one bar for each contender."""

from collections.abc import Mapping
from html import escape

WIDTH, LABEL, BAR, GAP = 760, 140, 16, 34
OURS, HAND, OTHERS = "#0b7a4b", "#8a8f98", "#c9a24b"


def plot(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The rows as bars, each as long as its figure compared with the largest of its row."""
    parts: list[str] = []
    y = 8
    for title, figures in rows.items():
        shown = {name: figure for name, figure in figures.items() if figure}
        parts.append(f'<text x="0" y="{y + 14}" font-weight="bold">{escape(title)}</text>')
        y += 22
        largest = max(shown.values(), default=1)
        for name, figure in shown.items():
            color = OURS if name.startswith("agentkit") else HAND if name.endswith("by hand") else OTHERS
            length = max(1.0, (WIDTH - LABEL - 80) * figure / largest)
            number = f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"
            parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{color}"/>')
            parts.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 12}">{number}</text>')
            y += BAR
        y += GAP - BAR
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12">'
    background = f'<rect width="{WIDTH}" height="{y}" fill="white"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"
