"""What the figures were measured on, and by which versions."""

import hashlib
import os
import pathlib
import platform
import re
import sqlite3
import subprocess

from .workspace import CHECKOUT

# Where a server's files are, and how it writes times, does not make it faster or slower.
UNINTERESTING = re.compile(
    "director(y|ies)|_file$|^port$|^lc_|^log_timezone$|^timezone$|^datestyle$|text_search_config"
    "|^listen_addresses$|permissions|^cluster_name$|^ssl_"
)


def describe_machine(database, reprise, engine_python):
    """Names and values, in the order to print them in; `database` is None where none is used."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "system": system(),
        "PostgreSQL": database and database.ask("SHOW server_version")[0][0],
        "PostgreSQL settings": database and settings(database),
        "SQLite": sqlite3.sqlite_version,
        "Swift": first_line(["swift", "--version"]),
        "reprise": first_line([reprise, "--version"]),
        "reprise's commit": commit(),
        "reprise's SHA-256": hashlib.sha256(pathlib.Path(reprise).read_bytes()).hexdigest(),
        "Python": platform.python_version(),
        "chDB": engine_version(engine_python),
    }


def load_average():
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return f"{int(line.split()[1]) / 1024**2:.1f} GiB"
    return "unknown"


def system():
    release = platform.freedesktop_os_release()
    try:
        point = f" ({pathlib.Path('/etc/debian_version').read_text().strip()})"
    except FileNotFoundError:
        point = ""
    return release["PRETTY_NAME"] + point


def settings(database):
    """What the configuration sets; the rest is PostgreSQL's default."""
    rows = database.ask(
        "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"
        " WHERE source NOT IN ('default', 'override', 'client', 'session', 'environment variable')"
        " AND setting IS DISTINCT FROM boot_val ORDER BY name"
    )
    return ", ".join(
        f"{name}={value}" for name, value in rows if not UNINTERESTING.search(name.lower())
    )


def commit():
    """The checkout's; with a word about changes in what is built, and silent about new files."""
    number = first_line(["git", "-C", CHECKOUT, "rev-parse", "--short=12", "HEAD"])
    built = ["Package.swift", "Sources", "Projections", "migrations"]
    built += ["Benchmarks/Totals", "Benchmarks/FoldCost", "Benchmarks/AllocationCount"]
    changed = first_line(["git", "-C", CHECKOUT, "status", "--porcelain", "--", *built])
    return number and number + (", with changes" if changed else "")


def engine_version(python):
    if python is None:
        return None
    asked = "import importlib.metadata as packages; print(packages.version('chdb'))"
    return first_line([python, "-c", asked])


def first_line(command):
    """What a command says first; None where it is missing or fails."""
    try:
        finished = subprocess.run(command, text=True, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = finished.stdout.splitlines()
    return lines[0] if finished.returncode == 0 and lines else None
