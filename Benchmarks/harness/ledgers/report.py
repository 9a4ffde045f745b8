"""The figures of `ledger` as text."""

import statistics

from ..report import MIB, in_columns, machine_lines, target_lines
from ..summary import spread


def summarise_task(task):
    """The figures of a task, with those of the other program where it was measured in turn."""
    seconds = spread([run.seconds for run in task.measurements])
    summary = {
        "name": task.name,
        "events": task.events,
        "runs": len(task.measurements),
        "seconds": seconds,
        "eventsPerSecond": task.events / seconds["median"],
        "cpuSeconds": statistics.median(run.cpu_seconds for run in task.measurements),
        "peakBytes": max(run.peak_bytes for run in task.measurements),
        "allSeconds": [run.seconds for run in task.measurements],
    }
    if task.measurements_against:
        pairs = zip(task.measurements_against, task.measurements)
        others = [run.seconds for run in task.measurements_against]
        summary["otherSeconds"] = spread(others)
        summary["allOtherSeconds"] = others
        summary["partOfOther"] = statistics.median(
            other.seconds / own.seconds for other, own in pairs
        )
    return summary


def text_report(results):
    sections = [
        f"The ledger: {results['events']:,} events of seed {results['seed']}, {results['date']}",
        task_table(results["tasks"]) if results["tasks"] else "",
        "\n".join(results["leftOut"]),
        reading_table(results["reading"]) if results["reading"] else "",
        waiting_table(results["waiting"]) if results["waiting"] else "",
        growth_table(results["growth"]) if results["growth"] else "",
        target_lines(results["targets"]),
        machine_lines(results),
        NOTES,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


NOTES = """\
Whole processes, from start to end: median, least and most of the runs; peak memory is the most. The
ledgers and the files of lines are in the page cache. `of other` is the rate as a part of the other
program's, by pairs of runs. Benchmarks/README.md says what each row means."""


def task_table(tasks):
    heads = ["", "events", "runs", "seconds", "least", "most", "processor s", "events/s"]
    heads += ["peak MiB", "other's s", "of other"]
    return in_columns([heads, *map(task_row, tasks)])


def task_row(task):
    seconds = task["seconds"]
    has_other = "otherSeconds" in task
    return [
        task["name"],
        f"{task['events']:,}",
        f"{task['runs']}",
        *(f"{seconds[which]:.2f}" for which in ("median", "min", "max")),
        f"{task['cpuSeconds']:.2f}",
        f"{task['eventsPerSecond']:,.0f}",
        f"{task['peakBytes'] / MIB:,.0f}",
        f"{task['otherSeconds']['median']:.2f}" if has_other else "-",
        f"{task['partOfOther']:.2f}" if has_other else "-",
    ]


def reading_table(reading):
    heads = ["", "C scan", "into one batch", "events/s", "of scan", "keeping all", "events/s"]
    heads.append("of scan")
    rows = [heads]
    for figures in reading:
        row = [figures["name"], f"{figures['seconds']['scan']['median']:.3f}"]
        for way in ("reusing", "keeping"):
            seconds = figures["seconds"][way]["median"]
            row += [f"{seconds:.3f}", f"{figures['events'] / seconds:,.0f}"]
            row.append(f"{figures['partOfScan'][way]:.2f}")
        rows.append(row)
    return "Reading, in seconds (medians), beside a C program that scans the file:\n" + in_columns(rows)


def waiting_table(waiting):
    rows = [["", "times", "alone, ms", "median wait", "most"]]
    for figures in waiting:
        rows.append([
            figures["name"],
            f"{figures['times']}",
            *(f"{figures[which]:.0f}" for which in ("aloneMilliseconds", "medianWait", "mostWait")),
        ])
    title = "Writing beside an import with v4 ids, in milliseconds more than the process takes alone:"
    return f"{title}\n{in_columns(rows)}"


def growth_table(growth):
    """A row for each size, with the slowest of the files since the size before."""
    heads = ["events", "events/s", "slowest file", "processor s/million", "bytes/event", "peak MiB"]
    rows = [heads]
    before = 0
    for size, rate in growth["rates"].items():
        since = [
            entry
            for entry in growth["files"]
            if before < entry["events"] <= size * growth["eventsInFile"]
        ]
        before = size * growth["eventsInFile"]
        rows.append([
            f"{before:,}",
            f"{rate['eventsPerSecond']:,.0f}",
            f"{min(entry['eventsPerSecond'] for entry in since):,.0f}",
            f"{rate['cpuSecondsPerMillion']:.2f}",
            f"{since[-1]['ledgerBytes'] / before:.0f}",
            f"{max(entry['peakBytes'] for entry in since) / MIB:,.0f}",
        ])
    title = (
        f"Importing with v4 ids, by files of {growth['eventsInFile']:,} events; the rate is that of the"
        " last three files:"
    )
    return f"{title}\n{in_columns(rows)}"
