"""Run the test modules here and print one JSON line a case.

Usage: run.py [pattern]. A line is {"id", "outcome": ok|fail|skip, "detail"}; the
exit status is 0 also when cases fail, for whoever reads the lines judges them.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from typing import Any, Iterator


def cases(suite: Any) -> Iterator[unittest.TestCase]:
    """Flatten a suite."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def main() -> None:
    """Discover, run, report."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for case in cases(unittest.defaultTestLoader.discover(here, "test_*.py")):
        if wanted not in case.id():
            continue
        result = unittest.TestResult()
        case.run(result)
        faults = [text for _, text in result.errors + result.failures]
        outcome = "fail" if faults else "skip" if result.skipped else "ok"
        detail = "\n".join(faults) or "".join(reason for _, reason in result.skipped)
        print(json.dumps({"id": case.id(), "outcome": outcome, "detail": detail}), flush=True)


if __name__ == "__main__":
    main()
