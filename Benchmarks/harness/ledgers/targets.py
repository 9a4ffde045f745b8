"""What the ledger is meant to reach.

As with a rebuild, a figure of one machine at one moment fails nothing.
"""

from ..targets import target

# With fewer, starting the process outweighs its work.
LEAST_EVENTS = 1_000_000
# Events a second.
RATES = {
    "generate": 500_000,
    "import, v4 ids": 300_000,
    "verify, no ids": 1_000_000,
    "verify, v4 ids": 1_000_000,
    "replay": 800_000,
}
# Of the other program's rate.
PARTS_OF_OTHER = {"import, no ids": 0.9}
# Of the C program's rate when the events are kept in memory: what 0.1.0 reached on a file of its own,
# in 40 runs in turn with this one (Results/ledger-experiments.md).
PART_OF_SCAN = 0.5
MOST_TIMES_FOR_TYPES = 1.5
LEAST_PART_WHEN_GROWN = 0.5
GROWN_TO = 30
# Milliseconds.
MOST_WAIT = 100


def targets(results):
    found = rate_targets({task["name"]: task for task in results["tasks"]})
    reading = {figures["name"]: figures for figures in results["reading"]}
    if reading:
        found += reading_targets(reading, results["timesForTypes"])
    for figures in results["waiting"]:
        holds = figures["mostWait"] <= MOST_WAIT if figures["isEnough"] else None
        words = f"{figures['name']} beside an import: waits {MOST_WAIT} ms at most"
        found.append(target(words, holds, f"{figures['mostWait']:.0f} ms"))
    if results["growth"]:
        found.append(growth_target(results["growth"]["rates"]))
    if results["events"] < LEAST_EVENTS:
        remark = f"not judged below {LEAST_EVENTS:,} events"
        found = [{**entry, "holds": None, "remark": remark} for entry in found]
    return found


def rate_targets(tasks):
    found = []
    for name, wanted in RATES.items():
        if name in tasks:
            rate = tasks[name]["eventsPerSecond"]
            words = f"{name}: {wanted:,} events/s"
            found.append(target(words, rate >= wanted, f"{rate:,.0f} events/s"))
    for name, wanted in PARTS_OF_OTHER.items():
        if name in tasks:
            part = tasks[name].get("partOfOther")
            words = f"{name}: {wanted} of the other program's rate"
            holds, reached = None, "not measured"
            if part is not None:
                holds, reached = part >= wanted, f"{part:.2f}"
            found.append(target(words, holds, reached))
    return found


def reading_targets(reading, times):
    part = reading["no ids"]["partOfScan"]["keeping"]
    return [
        target(f"reading: {PART_OF_SCAN} of the C program's rate", part >= PART_OF_SCAN, f"{part:.2f}"),
        target(
            f"20,000 types: at most {MOST_TIMES_FOR_TYPES} times as long as 10",
            times <= MOST_TIMES_FOR_TYPES,
            f"{times:.2f} times",
        ),
    ]


def growth_target(rates):
    words = f"v4 ids at {GROWN_TO} million: {LEAST_PART_WHEN_GROWN} of the rate at 1 million"
    if 1 not in rates or GROWN_TO not in rates:
        return target(words, None, "not measured")
    part = rates[GROWN_TO]["eventsPerSecond"] / rates[1]["eventsPerSecond"]
    return target(words, part >= LEAST_PART_WHEN_GROWN, f"{part:.2f}")
