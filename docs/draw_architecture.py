"""The rooms of the repository as one picture, drawn from the imports.

`python docs/draw_architecture.py` writes docs/architecture.svg. A box is a folder, or a file that
stands alone; an arrow points at what is imported. An arrow that follows from others (a imports b,
b imports c, so a may import c) is left out. A box stands above everything that it imports.
"""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "pocket_tts_jax"
ABOVE = ("exporters", "training", "benchmarks")
PURPOSE = {
    "errors": "what went wrong, what to do",
    "shapes": "shape checks",
    "config": "27 configurations, read strictly",
    "files": "downloads, caches, atomic writes",
    "audio": "read, write, play, stretch",
    "model": "FlowLM and Mimi in Flax",
    "weights": "checkpoints, where models are",
    "text": "tokens, chunks, numbers, pauses",
    "voice": "recordings, voice files, cache",
    "generation": "the streaming loop, noise",
    "workers": "processes with one model",
    "jax_engine": "computes with JAX",
    "litert_engine": "computes with LiteRT, no JAX",
    "open_model": "a name → an engine",
    "tts_model": "TTSModel, the Python interface",
    "testing": "tiny models",
    "cli": "the command line",
    "pocket_engine": "the interface of iOS apps",
    "server": "HTTP, WebSocket, Wyoming",
    "alignment": "times of words",
    "bulk": "many texts at once",
    "captions": "subtitles from word times",
    "book": "books read aloud",
    "exporters": "JAX → LiteRT, and the gate",
    "training": "data, losses, loops, judging",
    "benchmarks": "time and memory, side by side",
}
# Columns of the picture in pixels.
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 196, 54, 26, 62, 24

Graph = dict[str, set[str]]


def rooms() -> Graph:
    """Who imports whom, by room; `__init__` and `__main__` of the package are the door, no room."""
    graph: Graph = defaultdict(set)
    for folder in (PACKAGE, *ABOVE):
        for path in sorted((ROOT / folder).rglob("*.py")):
            room = _room(".".join(path.relative_to(ROOT).with_suffix("").parts))
            if room in ("__init__", "__main__"):
                continue
            targets = {_room(name) for name in _imports(path)}
            graph[room] |= targets - {room, "__init__"}
    return {room: {target for target in graph[room] if target in graph} for room in graph}


def _room(module: str) -> str:
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return parts[0]
    return parts[1] if len(parts) > 1 else "__init__"


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found |= {f"{PACKAGE}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] in (PACKAGE, *ABOVE)}


def reduce(graph: Graph) -> Graph:
    """Without the arrows that follow from others."""
    reach: Graph = {}

    def below(room: str) -> set[str]:
        if room not in reach:
            reach[room] = set()  # an import circle would end here
            reach[room] = graph[room].union(*map(below, graph[room]))
        return reach[room]

    return {
        room: {t for t in targets if not any(t in below(other) for other in targets - {t})}
        for room, targets in graph.items()
    }


def levels(graph: Graph) -> dict[str, int]:
    """0 for a room that imports no other; else one more than the highest that it imports."""
    known: dict[str, int] = {}

    def level(room: str) -> int:
        if room not in known:
            known[room] = 1 + max(map(level, graph[room]), default=-1)
        return known[room]

    return {room: level(room) for room in sorted(graph)}


def place(graph: Graph, level: dict[str, int]) -> dict[tuple[str, ...], tuple[float, float]]:
    """The middle of every box, (room,), and of every point that a long arrow (from, to, row)
    passes on its way, as x and y in pixels.

    Rows are put in order, and then spread, by the middle of what each box is connected with.
    """
    links: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for room, targets in sorted(graph.items()):
        for target in sorted(targets):
            points = way(room, target, level)
            for upper, lower in zip(points, points[1:], strict=False):
                links[upper].add(lower)
                links[lower].add(upper)
    row_of = {point: level[point[0]] if len(point) == 1 else int(point[2]) for point in links}
    rows = [sorted(p for p in row_of if row_of[p] == i) for i in range(max(row_of.values()) + 1)]
    x = {point: 100.0 * i for row in rows for i, point in enumerate(row)}
    for sweep in range(60):
        for row in rows if sweep % 2 else reversed(rows):
            wish = {p: sum(x[q] for q in sorted(links[p])) / len(links[p]) for p in row}
            row.sort(key=lambda p: (wish[p], p))
            x |= _spread(row, wish)
    left = min(x[p] for p in x) - WIDTH / 2
    height = len(rows) * (HEIGHT + GAP_Y) - GAP_Y
    return {
        p: (x[p] - left + MARGIN, height - row_of[p] * (HEIGHT + GAP_Y) - HEIGHT / 2 + MARGIN)
        for p in x
    }


def way(room: str, target: str, level: dict[str, int]) -> list[tuple[str, ...]]:
    """An arrow's points from its upper box to its lower one, one in each row."""
    between = range(level[room] - 1, level[target], -1)
    return [(room,), *((room, target, str(row)) for row in between), (target,)]


def _spread(row: list[tuple[str, ...]], wish: dict[tuple[str, ...], float]) -> dict:
    """Places as near to the wishes as the widths allow, in the row's order."""
    widths = [WIDTH + GAP_X if len(point) == 1 else 2 * GAP_X for point in row]
    places: list[float] = []
    for i, point in enumerate(row):
        least = places[-1] + (widths[i - 1] + widths[i]) / 2 if places else -1e9
        places.append(max(wish[point], least))
    shift = sum(wish[p] for p in row) / len(row) - sum(places) / len(places)
    return {point: place + shift for point, place in zip(row, places, strict=True)}


def draw() -> str:
    """The picture as SVG, in colours that can be read on light and on dark pages."""
    graph = reduce(rooms())
    level = levels(graph)
    at = place(graph, level)
    arrows = [
        _arrow([at[point] for point in way(room, target, level)])
        for room in sorted(graph)
        for target in sorted(graph[room])
    ]
    boxes = [_box(room, *at[(room,)]) for room in sorted(graph)]
    width = max(x for x, _ in at.values()) + WIDTH / 2 + MARGIN
    height = max(y for _, y in at.values()) + HEIGHT / 2 + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
            ' font-family="system-ui, sans-serif" text-anchor="middle">',
            "<title>The rooms of pocket_tts_jax, and which imports which</title>",
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
            ' markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" fill="#8a8f98"/></marker>'
            "</defs>",
            '<rect width="100%" height="100%" rx="12" fill="#ffffff"/>',
            '<g fill="none" stroke="#8a8f98" stroke-width="1.5" marker-end="url(#head)">',
            *arrows,
            "</g>",
            *boxes,
            "</svg>",
            "",
        ]
    )


def _arrow(points: list[tuple[float, float]]) -> str:
    """A curve through the points, which leaves and arrives upright and passes rows upright."""
    half = HEIGHT / 2
    (x, y), *others = points
    parts = [f"M{x:.0f} {y + half:.0f}"]
    x, y = x, y + half
    for i, (next_x, middle) in enumerate(others):
        last = i == len(others) - 1
        top = middle - half - (2 if last else 0)
        bend = (y + top) / 2
        parts.append(f"C{x:.0f} {bend:.0f} {next_x:.0f} {bend:.0f} {next_x:.0f} {top:.0f}")
        if not last:
            parts.append(f"V{middle + half:.0f}")
        x, y = next_x, middle + half
    return f'<path d="{"".join(parts)}"/>'


def _box(room: str, x: float, y: float) -> str:
    fill, line = ("#fff4e0", "#d18f2c") if room in ABOVE else ("#e8f1fd", "#3b78c4")
    left, top = x - WIDTH / 2, y - HEIGHT / 2
    label, purpose = f'x="{x:.0f}" y="{y - 4:.0f}"', f'x="{x:.0f}" y="{y + 15:.0f}"'
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="8"'
        f' fill="{fill}" stroke="{line}"/>'
        f'<text {label} font-size="15" font-weight="600" fill="#1d2733">{room}</text>'
        f'<text {purpose} font-size="10.5" fill="#46515e">{PURPOSE.get(room, "")}</text>'
    )


if __name__ == "__main__":
    (ROOT / "docs" / "architecture.svg").write_text(draw(), encoding="utf-8")
