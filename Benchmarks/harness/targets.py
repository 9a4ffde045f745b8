"""What reprise is meant to reach, and whether it does.

A benchmark of one machine at one moment is no test: what is not reached is said and fails nothing.
"""

from .report import MIB

TIMES_FLOOR = 1.3
EVENTS_PER_SECOND = 500_000
# How many times faster than whom.
TIMES_FASTER = {"Python fold and COPY": 5, "jsonb, INSERT … SELECT": 10, "chDB and COPY": 2}
# For each row beside the row's own bytes.
BYTES_A_ROW = 150
# Below that the program's own memory, some 40 MiB, outweighs its rows.
LEAST_ROWS_FOR_MEMORY = 500_000


def targets(summaries):
    """Each target with what was reached: `holds` is None where that cannot be told."""
    (own,) = [summary for summary in summaries if summary["kind"] == "reprise"]
    floors = [summary for summary in summaries if summary["kind"] == "floor"]
    best = max(floors, key=lambda floor: floor["eventsPerSecond"])
    found = [floor_target(own, floor) for floor in floors]
    found.append(rate_target(own, best))
    by_name = {summary["name"]: summary for summary in summaries}
    for name, wanted in TIMES_FASTER.items():
        found.append(peer_target(own, best, name, by_name.get(name), wanted))
    found.append(memory_target(own))
    return found


def target(name, holds, reached, remark=None):
    return {"target": name, "holds": holds, "reached": reached, "remark": remark}


def floor_target(own, floor):
    times = floor["eventsPerSecond"] / own["eventsPerSecond"]
    name = f"within {TIMES_FLOOR} times the {floor['name']}"
    return target(name, times <= TIMES_FLOOR, f"{times:.2f} times")


def rate_target(own, best):
    rate, most = own["eventsPerSecond"], best["eventsPerSecond"]
    remark = None
    if most <= EVENTS_PER_SECOND:
        remark = f"the floor itself does {most:,.0f}"
    name = f"above {EVENTS_PER_SECOND:,} events/s"
    return target(name, rate > EVENTS_PER_SECOND, f"{rate:,.0f} events/s", remark)


def peer_target(own, best, name, peer, wanted):
    words = f"{wanted} times faster than {name}"
    if peer is None:
        return target(words, None, "left out")
    rate = peer["eventsPerSecond"]
    times, most = own["eventsPerSecond"] / rate, best["eventsPerSecond"] / rate
    remark = f"the floor itself is {most:.1f} times faster" if most < wanted else None
    return target(words, times >= wanted, f"{times:.1f} times", remark)


def memory_target(own):
    """Resident memory at its peak, beside the rows' bytes that went through COPY.

    Rows of working state go through none, and count with the allowance for a row alone.
    """
    peak, rows = own["peakBytes"], own["rows"] + own["workingRows"]
    allowed = own["copiedBytes"] + BYTES_A_ROW * rows
    holds = peak <= allowed if rows >= LEAST_ROWS_FOR_MEMORY else None
    remark = f"not judged below {LEAST_ROWS_FOR_MEMORY:,} rows" if holds is None else None
    reached = f"{peak / MIB:,.1f} MiB; allowed are {allowed / MIB:,.1f}"
    if own["workingRows"]:
        remark = remark or f"{own['workingRows']:,} rows are working state"
    name = f"memory at most the rows' bytes and {BYTES_A_ROW} B a row"
    return target(name, holds, reached, remark)
