"""Checks the packages of a lock for known vulnerabilities, with pip-audit.

Ends with status 1 if one is vulnerable. If the database is unreachable, it prints one line and ends with status 0.

    python scripts/audit.py requirements.lock
"""

import json
import subprocess
import sys
from typing import Any

COMMAND = (sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off")
REPORT = ("--format", "json", "--timeout", "10", "--requirement")
SECONDS = 180


def report(lock: str) -> list[dict[str, Any]]:
    """Returns the report of pip-audit on each package, empty if it cannot reach the database."""
    try:
        done = subprocess.run([*COMMAND, *REPORT, lock], capture_output=True, text=True, timeout=SECONDS, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, subprocess.TimeoutExpired):
        return []
    return found


def main(lock: str) -> int:
    known = [package for package in report(lock) if "skip_reason" not in package]
    if not known:
        print(f"{lock}: not audited: pip-audit cannot reach its database of vulnerabilities")
        return 0
    vulnerable = [package for package in known if package["vulns"]]
    for package in vulnerable:
        flaws = ", ".join(f"{flaw['id']} (fixed in {flaw['fix_versions']})" for flaw in package["vulns"])
        print(f"{lock}: {package['name']} {package['version']}: {flaws}")
    print(f"{lock}: {len(known)} packages checked, {len(vulnerable)} vulnerable")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
