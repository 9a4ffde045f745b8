"""What the measurements come to: one dictionary for each contestant."""

import statistics


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def phases(measurements):
    """Median seconds of each phase that a contestant reports, and what its process took beside."""
    reported = [measurement.output["seconds"] for measurement in measurements]
    names = [name for name in reported[0] if name != "total"]
    medians = {name: statistics.median(run[name] for run in reported) for name in names}
    rest = [
        measurement.seconds - sum(run[name] for name in names)
        for measurement, run in zip(measurements, reported)
    ]
    medians["rest"] = max(0, statistics.median(rest))
    return medians


def summarise(contestant, rows):
    """Figures of one contestant; `rows` is how many its tables have together."""
    measurements = contestant.measurements
    seconds = spread([measurement.seconds for measurement in measurements])
    summary = {
        "name": contestant.name,
        "kind": contestant.kind,
        "events": contestant.ledger.events,
        "rows": rows,
        "runs": len(measurements),
        "seconds": seconds,
        "cpuSeconds": statistics.median(run.cpu_seconds for run in measurements),
        "eventsPerSecond": contestant.ledger.events / seconds["median"],
        "rowsPerSecond": rows / seconds["median"],
        "peakBytes": max(run.peak_bytes for run in measurements),
        "phases": phases(measurements),
        "allSeconds": [run.seconds for run in measurements],
    }
    if contestant.kind == "reprise":
        blocked = [run.output["blockedMilliseconds"] for run in measurements]
        summary["blockedMilliseconds"] = spread(blocked)
        summary["copiedBytes"] = measurements[0].output["copiedBytes"]
        summary["workingRows"] = sum(measurements[0].output["workingRows"].values())
        summary["ownPeakBytes"] = max(run.output["peakMemoryBytes"] for run in measurements)
    return summary


def add_ratios(summaries):
    """Compares everybody with the floors and with reprise, by events a second: ledgers differ."""
    floors = [summary for summary in summaries if summary["kind"] == "floor"]
    (own,) = [summary for summary in summaries if summary["kind"] == "reprise"]
    for summary in summaries:
        rate = summary["eventsPerSecond"]
        summary["timesTheFloors"] = [floor["eventsPerSecond"] / rate for floor in floors]
        summary["timesReprise"] = own["eventsPerSecond"] / rate
