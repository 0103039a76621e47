"""Log-log pictures of bench/run as SVG.  Text stays text, so that a change of a number is a line of a diff."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LABEL = 500, 340, 52, 192, 46, 44, 15

# A ground of its own: a page's theme and what the browser asks an image for may differ.
STYLE = """
.ground { fill: #ffffff; stroke: #d0d7de } text { font: 12px system-ui, sans-serif; fill: #57606a } .title { font-weight: 600; fill: #1f2328 }
.grid { stroke: #d8dee4 } .line { fill: none; stroke-width: 2 } .dot { stroke: none }
.c0 { color: #0969da } .c1 { color: #bc4c00 } .c2 { color: #1a7f37 } .c3 { color: #8250df } .c4 { color: #bf3989 }
.line { stroke: currentColor } .dot, .label { fill: currentColor }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117; stroke: #30363d } text { fill: #9198a1 } .title { fill: #f0f6fc } .grid { stroke: #2a313c }
.c0 { color: #58a6ff } .c1 { color: #f0883e } .c2 { color: #3fb950 } .c3 { color: #bc8cff } .c4 { color: #f778ba } .label { fill: currentColor }
}
"""


def short(value):
    """200000 is "200 k"; 0.01 stays."""
    for unit, word in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"


def apart(wanted):
    """The places of labels: as near to those wanted as leaves a line's height between two."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for _ in range(100):
        for a, b in zip(order, order[1:]):
            overlap = LABEL - (placed[b] - placed[a])
            if overlap > 0:
                placed[a] -= overlap / 2
                placed[b] += overlap / 2
    return placed


def panel(left, title, sizes, lines):
    """One plot: `lines` is [(name, values at `sizes`)]."""
    values = [v for _, vs in lines for v in vs]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])

    def x(size):
        return left + LEFT + (math.log10(size) - first) / (last - first) * inner_width

    def y(value):
        return TOP + (high - math.log10(value)) / (high - low) * inner_height

    out = [f'<text class="title" x="{left + LEFT}" y="26">{escape(title)}</text>']
    for exponent in range(low, high + 1):
        at = y(10 ** exponent)
        out.append(f'<path class="grid" d="M{left + LEFT} {at:.1f}h{inner_width}"/>'
                   f'<text x="{left + LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{short(10.0 ** exponent)}</text>')
    for size in sizes:
        out.append(f'<path class="grid" d="M{x(size):.1f} {TOP}v{inner_height}"/>'
                   f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(size)}</text>')
    places = apart([y(vs[-1]) for _, vs in lines])
    for i, ((name, vs), place) in enumerate(zip(lines, places)):
        points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(sizes, vs))
        dots = "".join(f'<circle class="dot" cx="{x(s):.1f}" cy="{y(v):.1f}" r="3"/>' for s, v in zip(sizes, vs))
        out.append(f'<g class="c{i}"><polyline class="line" points="{points}"/>{dots}'
                   f'<text class="label" x="{left + WIDTH - RIGHT + 9}" y="{place + 4:.1f}">{escape(name)}</text></g>')
    return "\n".join(out)


def draw(path, under, panels):
    """Writes `path`: `panels`, side by side, is [(title, sizes, lines)]; `under` says what the x axes are."""
    width = WIDTH * len(panels)
    body = "\n".join(panel(i * WIDTH, *one) for i, one in enumerate(panels))
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img">\n'
                f"<style>{STYLE}</style>\n"
                f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{HEIGHT - 1}" rx="6"/>\n{body}\n'
                f'<text x="{width / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(under)}</text>\n</svg>\n')
