"""Compares a ledger with the events that it should hold, in order, and nothing else.

    check.py LEDGER EXPECTED

EXPECTED has an event a line. Apart from the program: it reads the file with Python's sqlite3 and JSON,
numbers digit by digit. Prints each difference, and ends with 1 when there is one.
"""

import datetime
import json
import sqlite3
import sys

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def exact(text):
    """A JSON value whose numbers are the digits that stand there."""

    def members(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError(f"a key stands twice in {text}")
        return dict(pairs)

    number = lambda digits: ("number", digits)
    return json.loads(text, object_pairs_hook=members, parse_int=number, parse_float=number)


def microseconds(time):
    moment = datetime.datetime.strptime(time.rstrip("Z").split(".")[0], "%Y-%m-%dT%H:%M:%S")
    fraction = (time.rstrip("Z").split(".") + [""])[1]
    seconds = (moment.replace(tzinfo=datetime.timezone.utc) - EPOCH) // datetime.timedelta(seconds=1)
    return seconds * 1_000_000 + int(fraction.ljust(6, "0"))


def stored(path):
    ledger = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = ledger.execute(
        "SELECT id, time, stream, type, payload, metadata FROM events ORDER BY sequence"
    )
    for id, time, stream, type, payload, metadata in rows:
        yield {
            "id": id,
            "time": time,
            "stream": stream,
            "type": type,
            "data": exact(payload),
            "metadata": exact(metadata) if metadata is not None else None,
        }


def wanted(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = exact(line)
            event["time"] = microseconds(event["time"])
            yield event


def main():
    found, expected = list(stored(sys.argv[1])), list(wanted(sys.argv[2]))
    differences = 0
    if len(found) != len(expected):
        differences += 1
        print(f"{len(found)} events are stored, {len(expected)} are expected")
    for place, (left, right) in enumerate(zip(found, expected), 1):
        for name, value in right.items():
            if left[name] != value:
                differences += 1
                print(f"event {place}, {name}:\n  stored   {left[name]}\n  expected {value}")
    print(f"{len(found)} events, {differences} differences")
    return 1 if differences or not expected else 0


sys.exit(main())
