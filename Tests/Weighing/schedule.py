#!/usr/bin/python3
"""Everything at once, by a seed, and an oracle that shares no code with the product.

Two programs with two reducers, an old and a new one, follow, rebuild, resume, swap, roll back, truncate
and prune the same projection, from two processes at a time, while others write events and read rows.
Processes are killed and stopped, the server crashes, the ledger is restored from a backup, readers keep old
snapshots, pg_dump runs.

The oracle: the events that the ledger file holds up to the position of a snapshot, counted by id, times the
weight of one of the two programs. Rows of any other kind were lost, doubled, mixed, or are not those of their
position. A generation has the weight of one program for as long as it lives, unless it was taken over.

Prints a line for each finding. Exit status: 0 none, 1 findings, 2 nothing happened that could have shown one.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict

import psycopg2

WEIGHTS = (1, 1_000_003)
LOOK = """
    SELECT l.generation, l.position,
        (SELECT coalesce(jsonb_object_agg(id, weight), '{}') FROM public.weighed)
    FROM reprise.live AS l WHERE l.projection = 'weighed'
"""
# Which table has the name now, and in which file its rows are, whatever the snapshot.
FILES = """
    SELECT 'public.weighed'::regclass::oid, pg_relation_filenode('public.weighed'::regclass)
"""
# A command may say no or be interrupted. What it must not say: 1, 2, 6, 7 and 70.
EXPECTED = {0, 3, 4, 5, 75, 143, -signal.SIGKILL, -signal.SIGTERM}


class Schedule:
    def __init__(self, options):
        self.options = options
        self.ledger = os.path.join(options.folder, "ledger.db")
        self.end = time.monotonic() + options.seconds
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        self.findings = []
        self.sights = []
        self.counts = Counter()
        self.crashes = []
        self.histories = [self.ledger]

    # What happens

    def is_over(self):
        return time.monotonic() > self.end

    def find(self, what):
        with self.lock:
            self.findings.append(what)
            if len(self.findings) <= 20:
                print(f"finding: {what}", flush=True)

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def pause(self, seconds):
        # The schedule itself: nothing is waited for.
        time.sleep(max(0, min(seconds, self.end - time.monotonic())))

    def start(self, program, arguments):
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("REPRISE_")
        }
        environment["DATABASE_URL"] = self.options.database
        return subprocess.Popen(
            [program] + arguments,
            cwd=self.options.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process, arguments, began):
        message = process.communicate()[1]
        status = process.returncode
        line = " ".join(arguments)
        self.count(f"{arguments[0]} {status}")
        if status not in EXPECTED:
            self.find(f"'{line}' ended with {status}: {message[-600:]}")
        elif status == 5 and not any(began - 1 < crash for crash in self.crashes):
            self.find(f"'{line}' ended with 5 and the server was there: {message[-600:]}")
        return status

    def disturb(self, process, chance):
        """Kills, stops or ends a process at some time, or leaves it alone."""
        if chance.random() > 0.3:
            return
        try:
            process.wait(timeout=chance.uniform(0, 1.5))
        except subprocess.TimeoutExpired:
            kind = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
            self.count(kind.name)
            process.send_signal(kind)
            if kind == signal.SIGSTOP:
                self.pause(chance.uniform(0.1, 5))
                process.send_signal(signal.SIGCONT)

    def write(self, chance, number):
        batch = 0
        while not self.is_over():
            batch += 1
            path = os.path.join(self.options.folder, f"batch-{number}-{batch}.ndjson")
            with open(path, "w") as file:
                for event in range(chance.randint(1, 30)):
                    id = chance.randint(1, 40)
                    line = {
                        "id": f"{number}/{batch}/{event}/{self.options.seed}",
                        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                        "stream": f"thing-{id}",
                        "type": "Weighed",
                        "data": {"id": id},
                    }
                    file.write(json.dumps(line) + "\n")
            with self.writing:
                arguments = ["ledger", "import", path]
                self.finish(self.start(self.options.old, arguments), arguments, time.monotonic())
            os.unlink(path)
            self.pause(chance.uniform(0, 0.6))

    def control(self, chance):
        commands = [
            ["rebuild", "weighed", "--max-shrink", "100"],
            ["rebuild", "weighed", "--max-shrink", "100", "--no-swap"],
            ["rebuild", "weighed", "--max-shrink", "100", "--resume"],
            ["rebuild", "weighed", "--max-shrink", "100", "--strategy", "truncate"],
            ["swap", "weighed"],
            ["swap", "weighed", "--allow-older"],
            ["rollback", "weighed"],
            ["prune", "weighed", "--keep", "1"],
            ["prune", "weighed", "--keep", "0"],
            ["status", "weighed", "--json"],
            ["plan", "weighed"],
        ]
        patient = {"rebuild", "swap", "rollback"}
        while not self.is_over():
            arguments = list(chance.choice(commands))
            if arguments[0] in patient:
                arguments += ["--deadline", "5"]
            program = chance.choice([self.options.old, self.options.new])
            began = time.monotonic()
            process = self.start(program, arguments)
            self.disturb(process, chance)
            self.finish(process, arguments, began)
            self.pause(chance.uniform(0, 0.5))

    def follow(self, chance, program):
        while not self.is_over():
            arguments = ["follow", "weighed"]
            began = time.monotonic()
            process = self.start(program, arguments)
            try:
                process.wait(timeout=min(chance.uniform(1, 10), max(0, self.end - time.monotonic())))
            except subprocess.TimeoutExpired:
                kind = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
                self.count(f"follower {kind.name}")
                process.send_signal(kind)
                if kind == signal.SIGSTOP:
                    self.pause(chance.uniform(0.1, 4))
                    process.send_signal(signal.SIGCONT)
                    process.send_signal(signal.SIGTERM)
            self.finish(process, arguments, began)
            self.pause(chance.uniform(0, 1))

    def read(self, chance):
        connection = None
        while not self.is_over():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = psycopg2.connect(self.options.database)
                level = chance.choice(["READ COMMITTED", "REPEATABLE READ", "REPEATABLE READ"])
                with connection.cursor() as cursor:
                    cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                    cursor.execute(FILES)
                    before = cursor.fetchone()
                    cursor.execute("SELECT pg_sleep(%s)", [chance.choice([0, 0.05, 0.3, 1.5])])
                    cursor.execute(LOOK)
                    row = cursor.fetchone()
                    cursor.execute(FILES)
                    after = cursor.fetchone()
                connection.rollback()
                # TRUNCATE gives the same table another file, and every snapshot its rows. What a
                # snapshot sees that is older than the reload's COMMIT is not promised.
                reloaded = before[0] == after[0] and before[1] != after[1]
                if level == "REPEATABLE READ" and reloaded:
                    self.count("reloads beneath a snapshot")
                    continue
                if row is None:
                    self.find(f"{level}: nothing is live")
                    continue
                with self.lock:
                    self.sights.append((row[0], row[1], row[2], level))
            except psycopg2.Error as error:
                if connection is not None:
                    connection.close()
                connection = None
                if not any(began - 2 < crash for crash in self.crashes):
                    self.find(f"a reader got an error: {error}")
                self.pause(0.2)

    def dump(self, chance):
        while not self.is_over():
            self.pause(chance.uniform(2, 6))
            began = time.monotonic()
            done = subprocess.run(
                ["pg_dump", "--data-only", "--table=public.weighed", self.options.database],
                capture_output=True,
                text=True,
            )
            self.count(f"pg_dump {done.returncode}")
            if done.returncode != 0:
                if not any(began - 2 < crash for crash in self.crashes):
                    self.find(f"pg_dump: {done.stderr[-300:]}")
                continue
            rows, inside = {}, False
            for line in done.stdout.splitlines():
                if line.startswith("COPY public.weighed "):
                    inside = True
                elif line == "\\.":
                    inside = False
                elif inside:
                    id, weight = line.split("\t")
                    rows[id] = int(weight)
            with self.lock:
                self.sights.append((None, None, rows, "pg_dump"))

    def crash(self, chance):
        """A backend that is killed makes the server end all sessions and recover."""
        while not self.is_over():
            self.pause(chance.uniform(15, 40))
            if self.is_over():
                return
            try:
                connection = psycopg2.connect(self.options.database)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid()")
                    pid = cursor.fetchone()[0]
                self.crashes.append(time.monotonic() + 3)
                self.count("crash")
                os.kill(pid, signal.SIGKILL)
                connection.close()
            except psycopg2.Error:
                pass

    def restore(self, chance):
        """The ledger is replaced by its backup, twice; the rows are rebuilt from that."""
        share = self.options.seconds / 5
        for number in (1, 2):
            self.pause(share)
            copy = os.path.join(self.options.folder, f"backup-{number}.db")
            self.run_until_done(["ledger", "backup", copy])
            self.pause(share)
            if self.is_over():
                return
            with self.writing:
                history = os.path.join(self.options.folder, f"history-{number}.db")
                self.run_until_done(["ledger", "backup", history])
                self.histories.append(history)
                for ending in ("-wal", "-shm", ""):
                    if os.path.exists(self.ledger + ending):
                        os.unlink(self.ledger + ending)
                shutil.copy(copy, self.ledger + ".new")
                os.rename(self.ledger + ".new", self.ledger)
                self.count("restore")
            program = chance.choice([self.options.old, self.options.new])
            self.run_until_done(
                ["rebuild", "weighed", "--allow-older", "--max-shrink", "100"], program
            )

    def run_until_done(self, arguments, program=None):
        """An operator who repeats a command for as long as it says that it can succeed later."""
        limit = time.monotonic() + 120
        while True:
            began = time.monotonic()
            process = self.start(program or self.options.new, arguments)
            status = self.finish(process, arguments, began)
            if status == 0:
                return
            crashed = any(began - 1 < crash for crash in self.crashes)
            if status != 75 and not crashed or time.monotonic() > limit:
                self.find(f"'{' '.join(arguments)}' ended with {status} and can not be repeated")
                return
            time.sleep(0.2)

    # What is right

    def verify(self):
        """Holds every sight against the events of the ledger, as it was and as it is."""
        ledgers = [History(path) for path in self.histories]
        owners = defaultdict(set)
        for generation, position, rows, level in self.sights:
            rows = {int(id): int(weight) for id, weight in rows.items()}
            if generation is None:
                if not any(self.fits_somewhere(ledger, rows) for ledger in ledgers):
                    self.find(f"{level}: rows of no position: {rows}")
                continue
            candidates = [ledger for ledger in ledgers if ledger.holds(position)]
            if not candidates:
                self.find(f"{level}: generation {generation} at {position}, which no ledger had")
                continue
            weights = {
                weight
                for ledger in candidates
                for weight in WEIGHTS
                if ledger.counts(position, weight) == rows
            }
            if not weights:
                expected = candidates[0].counts(position, 1)
                self.find(f"{level}: generation {generation} at {position}: {rows}, not {expected}")
            elif rows:
                owners[generation] |= weights
        for generation, weights in sorted(owners.items()):
            if len(weights) > 1:
                self.find(f"generation {generation} has had rows of both programs")

    @staticmethod
    def fits_somewhere(ledger, rows):
        weights = [weight for weight in WEIGHTS if all(n % weight == 0 for n in rows.values())]
        return any(
            ledger.is_prefix({id: n // weight for id, n in rows.items()}) for weight in weights
        )

    def run(self):
        seeds = random.Random(self.options.seed)
        for arguments in (["ledger", "create", self.ledger], ["rebuild", "weighed", "--allow-empty"]):
            self.run_until_done(arguments, self.options.old)
        tasks = [(self.write, (1,)), (self.write, (2,)), (self.control, ()), (self.control, ())]
        tasks += [(self.follow, (program,)) for program in (self.options.old, self.options.new)]
        tasks += [(self.read, ())] * 3 + [(self.dump, ()), (self.crash, ()), (self.restore, ())]
        threads = []
        for task, arguments in tasks:
            chance = random.Random(seeds.getrandbits(64))
            threads.append(threading.Thread(target=task, args=(chance, *arguments)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # All that is left is applied, by each program to what it builds.
        for program in (self.options.old, self.options.new):
            self.end = time.monotonic() + 60
            self.run_until_done(
                ["rebuild", "weighed", "--allow-older", "--max-shrink", "100"], program
            )
            self.run_until_done(["follow", "weighed", "--until-caught-up"], program)
            with psycopg2.connect(self.options.database) as connection:
                with connection.cursor() as cursor:
                    cursor.execute(LOOK)
                    generation, position, rows = cursor.fetchone()
            self.sights.append((generation, position, rows, "the end"))
            if position != History(self.ledger).end():
                self.find(f"the end of the ledger is not reached: {position}")
        self.verify()
        swaps = self.swaps()
        print(f"{len(self.sights)} sights, {swaps} swaps, {dict(sorted(self.counts.items()))}")
        if self.findings:
            return 1
        return 0 if swaps >= 3 and len(self.sights) >= 20 else 2

    def swaps(self):
        with psycopg2.connect(self.options.database) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM reprise.swap")
                return cursor.fetchone()[0]


class History:
    """What a ledger's file says, read without the product."""

    def __init__(self, path):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as file:
            found = file.execute("SELECT sequence, checksum, payload FROM events ORDER BY sequence")
            self.events = [
                (number, checksum % 2**64, json.loads(payload)["id"])
                for number, checksum, payload in found
            ]
        for index, event in enumerate(self.events):
            assert event[0] == index + 1, f"{path} lacks event {index + 1}"
        self.states = [{}]
        for _, _, id in self.events:
            state = dict(self.states[-1])
            state[id] = state.get(id, 0) + 1
            self.states.append(state)

    def text(self, index):
        number, checksum, _ = self.events[index]
        return f"{number:016x}-{checksum:016x}-{0:016x}"

    def end(self):
        return self.text(-1) if self.events else None

    def holds(self, position):
        if position is None:
            return True
        number = int(position[:16], 16)
        return 0 < number <= len(self.events) and self.text(number - 1) == position

    def counts(self, position, weight):
        number = int(position[:16], 16) if position else 0
        return {id: count * weight for id, count in self.states[number].items()}

    def is_prefix(self, counts):
        number = sum(counts.values())
        return number <= len(self.events) and self.states[number] == counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", required=True)
    parser.add_argument("--new", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds} s", flush=True)
    sys.exit(Schedule(options).run())


main()
