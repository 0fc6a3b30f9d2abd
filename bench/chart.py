"""Charts as SVG, without a library: lines over axes that are linear or logarithmic."""
import html
import math

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 22, 34, 44
COLOURS = ["#1f6fb4", "#d1602b", "#4a9a4a", "#8a5fb0", "#a0843a", "#c2497d"]


class Axis:
    def __init__(self, label, low, high, logarithmic=False):
        self.label, self.logarithmic = label, logarithmic
        if logarithmic:
            self.low, self.high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
        else:
            step = 10 ** math.floor(math.log10(high or 1))
            self.low, self.high, self.step = low, math.ceil(high / step * 2) * step / 2, step / 2

    def share(self, value):
        if self.logarithmic:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self):
        if self.logarithmic:
            return [10 ** e for e in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]
        count = round((self.high - self.low) / self.step)
        every = math.ceil(count / 6)
        return [self.low + self.step * i for i in range(0, count + 1, every)]


class Chart:
    """Lines and points are [(x, y), ...] in the axes' units."""

    def __init__(self, title, x, y, legend_right=False):
        """The legend stands in the upper left corner, or in the lower right one."""
        self.title, self.x, self.y, self.parts, self.legend = title, x, y, [], []
        self.legend_right = legend_right

    def place(self, point):
        return (LEFT + self.x.share(point[0]) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - self.y.share(point[1]) * (HEIGHT - TOP - BOTTOM))

    def line(self, points, colour, name=None, dashed=False, dots=True):
        at = [self.place(p) for p in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        if dots:
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
        if name:
            self.legend.append((name, colour))

    def point(self, at, colour, name):
        x, y = self.place(at)
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
        self.legend.append((name, colour))

    def text(self, x, y, words, anchor="start", more=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(words)}</text>'

    def body(self):
        """The elements, for an <svg> or <g> of WIDTH x HEIGHT."""
        bottom, out = HEIGHT - BOTTOM, [self.text(LEFT, 18, self.title, more=' font-weight="bold"')]
        for tick in self.x.ticks():
            x = LEFT + self.x.share(tick) * (WIDTH - LEFT - RIGHT)
            out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
            out.append(self.text(x, bottom + 15, f"{tick:g}", "middle"))
        for tick in self.y.ticks():
            y = bottom - self.y.share(tick) * (bottom - TOP)
            out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(self.text(LEFT - 6, y + 4, f"{tick:g}", "end"))
        out.append(self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, self.x.label, "middle"))
        middle = (TOP + bottom) / 2
        out.append(self.text(14, middle, self.y.label, "middle", f' transform="rotate(-90 14 {middle:.0f})"'))
        first = bottom - 9 - 15 * len(self.legend) if self.legend_right else TOP + 6
        for i, (name, colour) in enumerate(self.legend):
            x, y = WIDTH - RIGHT - 17 if self.legend_right else LEFT + 8, first + 15 * i
            out.append(f'<rect x="{x}" y="{y}" width="9" height="9" fill="{colour}"/>')
            out.append(self.text(x - 5, y + 9, name, "end") if self.legend_right else self.text(x + 14, y + 9, name))
        return "\n".join(out + self.parts)


def drawing(charts, columns=2):
    """One SVG file with the charts beside and below each other, on white, so that dark pages show it as well."""
    rows = -(-len(charts) // columns)
    width, height = WIDTH * min(columns, len(charts)), HEIGHT * rows
    groups = [f'<g transform="translate({WIDTH * (i % columns)} {HEIGHT * (i // columns)})">\n{chart.body()}\n</g>'
              for i, chart in enumerate(charts)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(groups) + "\n</svg>\n")
