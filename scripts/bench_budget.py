#!/usr/bin/env python3
"""The part `budget` of scripts/bench: what the governor is worth in a hot cabinet, and what governor and scheduler cost.

scripts/bench budget            runs benches/budget.rs and writes docs/budgets.json, the tables of docs/budgets.md and docs/budgets-day.svg
scripts/bench_budget.py         writes the tables and the plot from docs/budgets.json, without measuring
scripts/bench_budget.py --check fails if the page or the plot do not say what the figures say

Needs nothing but Python for the last two.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE, FIGURES, PLOT = (ROOT / "docs" / name for name in ("budgets.md", "budgets.json", "budgets-day.svg"))

# What the issue asks for.
RATIO_MIN, COST_MAX = 1.3, 0.01

LEVELS = ["nominal", "warm", "hot", "critical", "emergency"]


def useful(run):
    return sum(run["useful"])


def ratio(row, of):
    return useful(row["on"]) / max(1, useful(row[of]))


def verdict(name, value, wanted, good):
    print(f"{name:<66} {value}   wanted {wanted}   {'met' if good else 'MISSED'}", flush=True)


def measure(root=ROOT):
    """Runs the benchmark; its last line is the figures."""
    words = ["cargo", "bench", "--quiet", "--bench", "budget", "--", "day"]
    out = subprocess.run(words, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def run_section(root=ROOT):
    """For scripts/bench."""
    print("\n== budget: a gateway in a hot cabinet, with the governor and without ==")
    found = measure(root)
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write()
    say(found)


def say(found):
    hot = [row for row in found["sweep"] if row["off"]["slowed_s"] > 0]
    for of, words in (("off", "same gateway without governor"), ("plain", "one by one, without governor")):
        best = max(hot or found["sweep"], key=lambda row: ratio(row, of))
        name = f"judged in time, governed to {words}, where the chip is slowed"
        verdict(name, f"{ratio(best, of):.2f} at best (load {best['load']}, other work {best['system']:.1f})", f">= {RATIO_MIN}",
                ratio(best, of) >= RATIO_MIN)
    cooler = max(row["on"]["peak"] - row["off"]["peak"] for row in hot or found["sweep"])
    verdict("hottest, governed less without, where the chip is slowed", f"{cooler:+.1f} K at most", "< 0", cooler < 0)
    late = sum(run["alarms_missed"] for row in found["sweep"] for run in (row["on"], row["off"]))
    worst = max(run["alarm_p99_ms"] for row in found["sweep"] for run in (row["on"], row["off"]))
    deadline = found["sweep"][0]["on"]["alarm_deadline_ms"]
    verdict("alarms, p99 at worst, ms", f"{worst:.0f}, {late} missed", f"<= {deadline}, 0", worst <= deadline and late == 0)
    share = cost_share(found)
    verdict("governor and scheduler, share of the board's processor time", f"{share:.2%}", f"<= {COST_MAX:.0%}", share <= COST_MAX)


def cost_share(found):
    """Of four cores, at the load that fills the models' thread one by one: the looks of a second and the pieces of a second."""
    cost = found["overhead"]
    return (cost["look_ns"] + cost["piece_ns"] * cost["pieces_per_second"]) / 4e9


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def thousands(count):
    return f"{count / 1000:,.0f}"


def tables(found):
    def each(cost):
        gain = cost["single_ns"] * found["batch"] / cost["batch_ns"] if cost["batches"] else 1
        batch = f"{cost['batch_ns'] / found['batch'] / 1e3:.1f}" if cost["batches"] else "–"
        return [cost["model"], f"{cost['single_ns'] / 1e3:.1f}", batch, f"{gain:.2f}"]

    costs = [each(cost) for cost in found["costs"]] + [["waking the thread, once a batch", f"{found['wake_ns'] / 1e3:.1f}", "", ""]]

    def row(found_row):
        plain, off, on = (found_row[name] for name in ("plain", "off", "on"))
        return [
            f"{found_row['system']:.1f}", f"{found_row['load']:.2f}", thousands(sum(on["offered"])),
            *(thousands(useful(run)) for run in (plain, off, on)), f"{ratio(found_row, 'off'):.2f}", f"{ratio(found_row, 'plain'):.2f}",
            *(f"{run['peak']:.1f}" for run in (plain, off, on)), *(f"{run['slowed_s'] / 36:.0f}" for run in (off, on)), on["level"],
            *(f"{run['alarm_p99_ms']:.0f}" for run in (off, on)), sum(run["alarms_missed"] for run in (off, on)),
        ]

    heads = ["other work", "load", "came", "one by one", "off", "on", "on/off", "on/one by one", "°C one by one", "°C off", "°C on",
             "slowed off, %", "slowed on, %", "level", "alarm p99 off, ms", "on, ms", "missed"]
    lanes = ["alarm", "normal", "bulk"]

    def day(name):
        run = found["day"][name]
        judged = [f"{run['useful'][lane] / max(1, run['offered'][lane]):.1%}" for lane in range(len(lanes))]
        return [name, thousands(useful(run)), *judged, f"{run['peak']:.1f}", f"{run['slowed_s'] / 3600:.1f}", run["changes"],
                f"{run['alarm_p99_ms']:.0f}", run["alarms_missed"], f"{run['joules'] / 3600:.1f}"]

    day_heads = ["governor", "judged in time, thousands", *(f"{lane} judged" for lane in lanes), "hottest, °C", "slowed, h", "changes",
                 "alarm p99, ms", "alarms missed", "Wh"]
    cost = found["overhead"]
    overhead = [
        ["governor, one look", f"{cost['look_ns'] / 1e3:.2f} µs", "once a second"],
        ["brain and scheduler, one piece of work", f"{cost['piece_ns'] / 1e3:.2f} µs", f"{cost['pieces_per_second']:,.0f} a second"],
        ["the same with the queue full", f"{cost['flooded_ns'] / 1e3:.2f} µs", f"{cost['waiting']:,} pieces wait"],
        ["governor and scheduler, of four cores", f"{cost_share(found):.2%}", f"wanted at most {COST_MAX:.0%}"],
    ]
    return {
        "costs": table(["model", "one by itself, µs", "each of eight, µs", "gain"], costs),
        "sweep": table(heads, [row(each_row) for each_row in found["sweep"]]),
        "day": table(day_heads, [day("off"), day("on")]),
        "overhead": table(["what", "processor time", ""], overhead),
    }


def filled(page, found):
    for name, text in tables(found).items():
        mark = f"<!-- {name} -->", f"<!-- /{name} -->"
        if mark[0] not in page:
            sys.exit(f"{PAGE.name} has no place {mark[0]}")
        text = f"{mark[0]}\n{text}\n{mark[1]}"
        page = re.sub(f"{mark[0]}.*{mark[1]}", lambda _, text=text: text, page, flags=re.DOTALL)
    return page


class Plot:
    """Three panels over a day: temperature, level, judgements an hour."""

    WIDTH, LEFT, RIGHT = 900, 60, 880
    COLOURS = {"off": "#c0392b", "on": "#1f6fb2", "air": "#7f8c8d"}

    def __init__(self):
        self.parts, self.top = [], 10

    def x(self, place, count):
        return self.LEFT + (self.RIGHT - self.LEFT) * place / max(1, count - 1)

    def text(self, x, y, words, colour="#333", anchor="start"):
        self.parts.append(f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}">{words}</text>')

    def panel(self, title, height, low, high, ticks, lines):
        """`lines`: name, colour, values; `ticks`: value, words."""
        base, top = self.top + 24 + height, self.top + 24
        y = lambda value: base - (base - top) * (value - low) / (high - low)
        self.text(self.LEFT, self.top + 14, title)
        for value, words in ticks:
            self.parts.append(f'<line x1="{self.LEFT}" y1="{y(value):.1f}" x2="{self.RIGHT}" y2="{y(value):.1f}" stroke="#ddd"/>')
            self.text(self.LEFT - 6, y(value) + 4, words, anchor="end")
        for place, (name, colour, values) in enumerate(lines):
            points = " ".join(f"{self.x(at, len(values)):.1f},{y(value):.1f}" for at, value in enumerate(values))
            self.parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            self.text(self.RIGHT - 130 * (len(lines) - 1 - place), self.top + 14, name, colour, "end")
        self.top = base + 8

    def svg(self):
        for hour in range(0, 25, 4):
            self.text(self.x(hour, 25), self.top + 12, f"{hour} h", anchor="middle")
        height = self.top + 24
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.WIDTH} {height}" font-family="sans-serif" font-size="12">'
        return "\n".join([head, f'<rect width="{self.WIDTH}" height="{height}" fill="white"/>', *self.parts, "</svg>"]) + "\n"


def plot(found):
    off, on = (found["day"][name]["minutes"] for name in ("off", "on"))
    of = lambda minutes, key, scale=1: [minute[key] * scale for minute in minutes]
    drawing = Plot()
    colours = drawing.COLOURS
    drawing.panel("hottest in ten minutes, °C", 200, 25, 90, [(at, str(at)) for at in (30, 40, 50, 60, 70, 80, 90)],
                  [("air in the cabinet", colours["air"], of(on, "ambient")), ("without governor", colours["off"], of(off, "chip")),
                   ("with", colours["on"], of(on, "chip"))])
    drawing.panel("level", 80, 0, 4, list(enumerate(LEVELS)), [("with governor", colours["on"], of(on, "level"))])
    drawing.panel("clock of the processor, %", 80, 40, 100, [(at, str(at)) for at in (40, 70, 100)],
                  [("without governor", colours["off"], of(off, "clock")), ("with", colours["on"], of(on, "clock"))])
    most = max(of(off, "useful", 6) + of(on, "useful", 6)) * 1.05
    step = 10 ** (len(str(int(most))) - 1)
    ticks = [(at * step, f"{at * step / 1e6:g} M") for at in range(int(most // step) + 1)]
    drawing.panel("judged in time, an hour", 160, 0, most, ticks,
                  [("without governor", colours["off"], of(off, "useful", 6)), ("with", colours["on"], of(on, "useful", 6))])
    return drawing.svg()


def write():
    found = json.loads(FIGURES.read_text("utf-8"))
    PAGE.write_text(filled(PAGE.read_text("utf-8"), found), "utf-8")
    PLOT.write_text(plot(found), "utf-8")


def main():
    if sys.argv[1:] == ["--check"]:
        found = json.loads(FIGURES.read_text("utf-8"))
        page = PAGE.read_text("utf-8")
        if filled(page, found) != page or plot(found) != PLOT.read_text("utf-8"):
            sys.exit("docs/budgets.md is not that of docs/budgets.json: run scripts/bench_budget.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        write()
        say(json.loads(FIGURES.read_text("utf-8")))


if __name__ == "__main__":
    main()
