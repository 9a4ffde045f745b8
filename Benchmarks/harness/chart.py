"""The results as a bar chart, in SVG."""

import html
import math

WIDTH = 860
LEFT, RIGHT, TOP, BOTTOM = 290, 110, 76, 58
BAR, GAP = 22, 12
COLOURS = {"floor": "#9aa5b1", "reprise": "#1f6feb", "peer": "#c7ced6"}
# Only beyond that is a logarithmic scale better: its bars are not as long as what they stand for.
WIDEST_LINEAR_RANGE = 100


class Scale:
    """Where a number of events a second is, in pixels from the left."""

    def __init__(self, values):
        self.is_logarithmic = max(values) > WIDEST_LINEAR_RANGE * min(values)
        if self.is_logarithmic:
            self.least = 10 ** math.floor(math.log10(min(values)))
            self.most = max(values) * 1.05
            exponents = range(round(math.log10(self.least)), math.ceil(math.log10(self.most)))
            self.ticks = [10**exponent for exponent in exponents]
        else:
            self.least, self.most = 0, max(values)
            step = self.round_step(self.most / 5)
            self.ticks = [step * number for number in range(int(self.most / step) + 1)]

    @staticmethod
    def round_step(least):
        power = 10 ** math.floor(math.log10(least))
        return next(step * power for step in (1, 2, 5, 10) if step * power >= least)

    def share(self, value):
        if not self.is_logarithmic:
            return value / self.most
        return math.log(value / self.least) / math.log(self.most / self.least)

    def place(self, value):
        return LEFT + self.share(value) * (WIDTH - LEFT - RIGHT)


def chart(results):
    """Bars of events a second, in the order of the table."""
    summaries = results["contestants"]
    scale = Scale([summary["eventsPerSecond"] for summary in summaries])
    bottom = TOP + len(summaries) * (BAR + GAP)
    parts = [*head(results, scale, bottom + BOTTOM), *axis(scale, bottom)]
    for number, summary in enumerate(summaries):
        parts += bar(summary, scale, TOP + number * (BAR + GAP))
    parts += [foot(results, bottom + BOTTOM - 14), "</svg>"]
    return "\n".join(parts) + "\n"


def head(results, scale, height):
    kind = "logarithmic scale" if scale.is_logarithmic else "linear scale"
    runs = max(summary["runs"] for summary in results["contestants"])
    events = max(summary["events"] for summary in results["contestants"])
    words = f"events/s, more is better; {kind}; {events:,} events, medians of up to {runs} runs"
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}"'
        " font-family=\"'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif\""
        ' font-size="13" fill="#24292f">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(20, 30, results["title"], size=17, weight="bold"),
        text(20, 52, words, colour="#57606a"),
    ]


def axis(scale, bottom):
    parts = []
    for tick in scale.ticks:
        x = scale.place(tick)
        parts.append(f'<path d="M{x:.1f} {TOP - 6}V{bottom}" stroke="#eaeef2" fill="none"/>')
        parts.append(text(x, bottom + 16, short(tick), anchor="middle", size=11, colour="#57606a"))
    return parts


def bar(summary, scale, top):
    rate = summary["eventsPerSecond"]
    end = scale.place(rate)
    line = top + BAR - 6.5
    weight = "bold" if summary["kind"] == "reprise" else "normal"
    return [
        text(LEFT - 10, line, label(summary), anchor="end", weight=weight),
        f'<rect x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" height="{BAR}" rx="2"'
        f' fill="{COLOURS[summary["kind"]]}"/>',
        text(end + 8, line, f"{rate:,.0f}", weight=weight),
    ]


def label(summary):
    return summary["name"] + summary.get("remark", "")


def foot(results, y):
    machine = results["machine"]
    server = f"PostgreSQL {machine['PostgreSQL']}"
    words = [machine["processor"], f"{machine['cores']} cores", server, results["date"]]
    return text(20, y, ", ".join(words), size=11, colour="#57606a")


def text(x, y, words, anchor="start", size=13, weight="normal", colour=None):
    fill = f' fill="{colour}"' if colour else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' font-weight="{weight}"{fill}>{html.escape(words)}</text>'
    )


def short(number):
    if number >= 1_000_000:
        return f"{number / 1_000_000:g} million"
    return f"{number / 1_000:g},000" if number >= 1_000 else f"{number:g}"
