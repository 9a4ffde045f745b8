"""Where results are kept, and under which name."""

import datetime
import json

from .workspace import BENCHMARKS

RESULTS = BENCHMARKS / "Results"


def today():
    return datetime.date.today().isoformat()


def keep(folder, name, results, **texts):
    """Writes the results as JSON and each of the texts beside them, by its extension."""
    folder.mkdir(exist_ok=True)
    contents = {**texts, "json": json.dumps(results, indent=2, ensure_ascii=False) + "\n"}
    for extension, content in contents.items():
        (folder / f"{name}.{extension}").write_text(content, encoding="utf-8")
