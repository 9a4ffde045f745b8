"""The results as text."""

MIB = 1024**2


def text_report(results):
    """Everything that the JSON has, to be read."""
    own = next(summary for summary in results["contestants"] if summary["kind"] == "reprise")
    sections = [
        title(results, own),
        table(results["contestants"]),
        "\n".join(results["leftOut"]),
        phase_lines(results["contestants"]),
        target_lines(results["targets"]),
        fold_lines(results["fold"]),
        blocked_line(own["blockedMilliseconds"]),
        machine_lines(results),
        NOTES,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


NOTES = """\
Whole processes, from start to end: median, least and most of the runs; peak memory is the most.
The server's memory is not counted. Commits of everybody do not wait for the disk
(synchronous_commit=off), and ledgers are in the page cache. Everybody's rows were compared with
reprise's after each run. Ratios are those of events a second. Benchmarks/README.md says what each
row means."""


def title(results, own):
    return (
        f"The projection `{results['workload']}`: {own['events']:,} events of seed {results['seed']}"
        f" into {own['rows']:,} rows, {results['date']}"
    )


def in_columns(rows):
    """Aligns texts: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def table(summaries):
    heads = ["", "", "", "", "", "", "", "", "", "times floor", "times floor", "against"]
    names = ["", "events", "runs", "seconds", "least", "most", "events/s", "rows/s", "peak MiB"]
    names += ["1 connection", "2 connections", "reprise"]
    return in_columns([heads, names, *map(table_row, summaries)])


def table_row(summary):
    seconds = summary["seconds"]
    return [
        summary["name"],
        f"{summary['events']:,}",
        f"{summary['runs']}",
        *(f"{seconds[which]:.2f}" for which in ("median", "min", "max")),
        f"{summary['eventsPerSecond']:,.0f}",
        f"{summary['rowsPerSecond']:,.0f}",
        f"{summary['peakBytes'] / MIB:,.0f}",
        *(f"{times:.2f}" for times in summary["timesTheFloors"]),
        against_reprise(summary),
    ]


def against_reprise(summary):
    times = summary["timesReprise"]
    if summary["kind"] == "reprise":
        return "-"
    return f"{times:.2f}x slower" if times >= 1 else f"{1 / times:.2f}x faster"


def phase_lines(summaries):
    rows = [[summary["name"], phase_text(summary["phases"])] for summary in summaries]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    title = "Seconds by phase, medians; `rest` is start, end and what has no name:"
    return "\n".join([title, *lines])


def phase_text(phases):
    # A phase that did not happen says nothing.
    shown = [f"{name} {seconds:.2f}" for name, seconds in phases.items() if seconds >= 0.005]
    return ", ".join(shown)


def target_lines(targets):
    """What reprise is meant to reach; with what the floor allows where that is less."""
    verdicts = {True: "pass", False: "not reached", None: "-"}
    rows = [(verdicts[target["holds"]], target["target"], reached(target)) for target in targets]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [
        f"{verdict.ljust(widths[0])}  {name.ljust(widths[1])}  {words}"
        for verdict, name, words in rows
    ]
    return "\n".join(["Targets of reprise:", *lines])


def reached(target):
    return "; ".join(filter(None, [target["reached"], target["remark"]]))


def fold_lines(fold):
    """Reading and folding by themselves; nothing for a workload that has no such figures."""
    if fold is None:
        return ""
    heads = ["", "seconds", "least", "most", "events/s", "allocations/event"]
    title = (
        f"Reading and folding without PostgreSQL: {fold['events']:,} events,"
        f" medians of {fold['runs']} run{'' if fold['runs'] == 1 else 's'}"
    )
    return "\n".join([title, in_columns([heads, *map(fold_row, fold["figures"])])])


def fold_row(figure):
    return [
        figure["name"],
        *(f"{figure['seconds'][which]:.3f}" for which in ("median", "min", "max")),
        f"{figure['eventsPerSecond']:,.0f}",
        f"{figure['allocationsPerEvent']:.4f}",
    ]


def blocked_line(blocked):
    return (
        f"Readers held up by reprise's swap: {blocked['median']:.1f} ms,"
        f" {blocked['max']:.1f} ms at most."
    )


def machine_lines(results):
    facts = {**results["machine"], "load average": results["loadAverage"]}
    width = max(map(len, facts))
    return "\n".join(
        f"{name.ljust(width)}  {value}" for name, value in facts.items() if value is not None
    )
