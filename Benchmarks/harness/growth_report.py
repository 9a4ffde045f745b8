"""The figures of `growth` as text."""

import statistics

from .report import MIB, in_columns, machine_lines, phase_text


def text_report(results):
    sections = [
        f"The projection `{results['workload']}` from growing ledgers of seed {results['seed']},"
        f" {results['date']}",
        size_table(results["sizes"]),
        phase_table(results["sizes"]),
        import_line(results["import"]) if results["import"] else "",
        machine_lines(results),
        NOTES,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


NOTES = """\
Whole processes, medians; peak memory is the most of the runs, the server's not counted. Ratios are
seconds of reprise over those of the floor with one and with two connections. Everybody's rows were
compared after each run."""


def own(size):
    (found,) = [summary for summary in size["contestants"] if summary["kind"] == "reprise"]
    return found


def size_table(sizes):
    heads = ["events", "rows", "ledger", "generate", "rebuild", "rebuild", "floor 1", "floor 2"]
    heads += ["ratio 1", "ratio 2", "peak", "peak bytes", "bytes of"]
    units = ["", "", "bytes/event", "events/s", "s", "events/s", "s", "s"]
    units += ["", "", "MiB", "/event", "rows/event"]
    return in_columns([heads, units, *map(size_row, sizes)])


def size_row(size):
    rebuild, events = own(size), size["events"]
    floors = [summary for summary in size["contestants"] if summary["kind"] == "floor"]
    return [
        f"{events:,}",
        f"{size['rows']:,}",
        f"{size['ledgerBytes'] / events:.0f}",
        f"{events / size['generationSeconds']:,.0f}",
        f"{rebuild['seconds']['median']:.2f}",
        f"{rebuild['eventsPerSecond']:,.0f}",
        *(f"{summary['seconds']['median']:.2f}" for summary in floors),
        *(f"{times:.2f}" for times in rebuild["timesTheFloors"]),
        f"{rebuild['peakBytes'] / MIB:,.0f}",
        f"{rebuild['peakBytes'] / events:.0f}",
        f"{rebuild['copiedBytes'] / events:.0f}",
    ]


def phase_table(sizes):
    lines = ["Seconds of reprise for a million events, by phase:"]
    for size in sizes:
        millions = size["events"] / 1_000_000
        phases = {name: seconds / millions for name, seconds in own(size)["phases"].items()}
        lines.append(f"{size['events']:>12,}  {phase_text(phases)}")
    return "\n".join(lines)


def import_line(imported):
    seconds = statistics.median(imported["seconds"])
    return (
        f"Import of {imported['events']:,} lines ({imported['lineBytes'] / MIB:,.0f} MiB) into an"
        f" empty ledger: {seconds:.2f} s, {imported['events'] / seconds:,.0f} events/s"
    )
