"""Files of events, in the form that `reprise ledger import` reads."""

import functools
import gzip
import json
import random
import shutil
import sqlite3
import time

# Seeds of the ids and of the types, so that every machine imports the same lines.
ID_SEED, TYPE_SEED = 4, 20_000


def write_lines(ledger, path, ids=None, later=0, types=None, events=-1):
    """Writes the events of a ledger as NDJSON.

    `ids` is None, "v4" (random) or "v7" (ascending by time). Every event is `later` microseconds
    later than in the ledger, and has ids of its own for each `later`. `types` replaces the types by
    so many others. The first `events` are written; -1 means all.
    """
    database = sqlite3.connect(ledger.path.resolve().as_uri() + "?mode=ro", uri=True)
    rows = database.execute(
        "SELECT time, stream, type, payload FROM events ORDER BY sequence LIMIT ?", (events,)
    )
    id_member = ID_MEMBERS[ids](random.Random(f"{ID_SEED} {ids} {later}"))
    types_random = random.Random(TYPE_SEED)
    with open(path, "w", encoding="utf-8") as file:
        for moment, stream, kind, payload in rows:
            moment += later
            if types:
                kind = f"Type{types_random.randrange(types):05}"
            # The payload goes in as it is: reading and writing it again could change it.
            file.write(
                f'{{{id_member(moment)}"time":"{rfc3339(moment)}","stream":{quoted(stream)}'
                f',"type":{quoted(kind)},"data":{payload}}}\n'
            )
    database.close()


def compress(path, compressed):
    """Writes a gzip file of one member."""
    with open(path, "rb") as source, gzip.open(compressed, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def no_id(_):
    return lambda moment: ""


def random_id(source):
    def member(_):
        digits = f"{source.getrandbits(128):032x}"
        return (
            f'"id":"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{"89ab"[int(digits[16], 16) & 3]}'
            f'{digits[17:20]}-{digits[20:]}",'
        )

    return member


def ordered_id(source):
    """The milliseconds first, as RFC 9562 has them; chance decides the order in a millisecond."""

    def member(moment):
        when, digits = f"{moment // 1_000:012x}", f"{source.getrandbits(80):020x}"
        return (
            f'"id":"{when[:8]}-{when[8:]}-7{digits[:3]}-{"89ab"[int(digits[3], 16) & 3]}'
            f'{digits[4:7]}-{digits[7:19]}",'
        )

    return member


ID_MEMBERS = {None: no_id, "v4": random_id, "v7": ordered_id}

# Streams and types recur, and quoting is slow.
quoted = functools.lru_cache(1 << 16)(json.dumps)


@functools.lru_cache(1 << 16)
def second(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def rfc3339(microseconds):
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{second(seconds)}.{rest:06}Z"
