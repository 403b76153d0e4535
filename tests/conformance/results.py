"""Turns what test runners print into lines of a status, a tab and a test's name: results.py FORMAT [PREFIX] <OUTPUT.

Ends with a status if the output shows that tests are missing from it. tests/cases/conformance has examples.
"""

import collections
import json
import os
import re
import sys
import xml.etree.ElementTree


class Missing(Exception):
    """Not every test is there."""


def tap(text, prefix):
    """Perl's Test Anything Protocol, of one file. What is missing is a failed test of its own."""
    planned, seen = None, 0
    for line in text.splitlines():
        plan = re.match(r"1\.\.(\d+)(\s*#\s*skip.*)?", line, re.I)
        if plan:
            planned = int(plan[1])
            if planned == 0:
                yield "skip", prefix
            continue
        match = re.match(r"(not )?ok\b\s*(\d*)\s*-?\s*((?:[^#\\]|\\.)*)(#\s*(skip|todo)\b.*)?", line, re.I)
        if match:
            seen += 1
            kind = (match[5] or "").lower()
            status = "skip" if kind == "skip" else "fail" if match[1] and not kind else "ok"
            # What is not told in advance (connection numbers, times, addresses) does not name a test.
            words = re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "N", match[3].strip())
            yield status, f"{prefix} {match[2] or seen} {words}".strip()
    if planned != 0:
        yield "ok" if seen == planned else "fail", f"{prefix} runs all its tests"


def go(text, prefix):
    """go test -json."""
    words = {"pass": "ok", "fail": "fail", "skip": "skip"}
    begun, packages, ended = set(), set(), set()
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        package, test, action = event.get("Package"), event.get("Test"), event.get("Action")
        packages.add(package)
        if (event.get("Output") or "").startswith(("panic: ", "fatal error: ")):
            raise Missing(f"{package} broke off: {event['Output'].strip()}")
        if test and action == "run":
            begun.add(test)
        elif action in words and test:
            begun.discard(test)
            yield words[action], test
        elif action in words:
            ended.add(package)
    if begun or packages - ended:
        raise Missing(f"not ended: {', '.join(sorted(begun) + sorted(packages - ended))}")


def junit(text, prefix):
    """pytest --junit-xml, and RSpec's and PHPUnit's of that form. All write it when they are done, or not at all."""
    for case in xml.etree.ElementTree.fromstring(text).iter("testcase"):
        kinds = {child.tag for child in case}
        status = "fail" if kinds & {"failure", "error"} else "skip" if "skipped" in kinds else "ok"
        yield status, f"{case.get('classname')}::{case.get('name')}"


def cargo(text, prefix):
    """cargo test."""
    words = {"ok": "ok", "FAILED": "fail", "ignored": "skip"}
    told, found = 0, 0
    for line in text.splitlines():
        if match := re.match(r"running (\d+) tests?$", line):
            told += int(match[1])
        elif match := re.match(r"test (\S+)(?: - should panic)? \.\.\. .*?\b(ok|FAILED|ignored)\b", line):
            found += 1
            yield words[match[2]], match[1]
    if found != told:
        raise Missing(f"{told} tests were begun, {found} ended")


def php(text, prefix):
    """PHP's run-tests.php."""
    words = {"PASS": "ok", "SKIP": "skip"}
    found = 0
    for match in re.finditer(r"^(PASS|FAIL|SKIP|BORK|XFAIL|WARN|LEAK)(?:&\w+)? .*?\[([^\]]+\.phpt)\]", text, re.M):
        found += 1
        yield words.get(match[1], "fail"), match[2].split("ext/")[-1]
    told = re.search(r"^Number of tests\s*:\s*(\d+)", text, re.M)
    if not told or int(told[1]) != found:
        raise Missing(f"{told[1] if told else 'unknown how many'} tests were begun, {found} ended")


def lines(text, prefix):
    """Programs of ours: they write the lines themselves, and `done` at their end."""
    last = ""
    for last in text.splitlines():
        status, tab, name = last.partition("\t")
        if tab and status in ("ok", "fail", "skip"):
            yield status, name
    if last != "done":
        raise Missing("the program did not come to its end")


def alike(name):
    """A test's name without what is different in every run."""
    name = " ".join(name.split())
    for variable in "PORT", "HOST":
        if value := os.environ.get(variable):
            name = re.sub(rf"(?<![\w.]){re.escape(value)}(?![\w.])", variable, name)
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "ADDRESS", name)


def main():
    form, prefix = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    seen = collections.Counter()
    try:
        for status, name in globals()[form](text, prefix):
            name = alike(name)
            seen[name] += 1
            # Several of one name are several tests.
            print(status, name if seen[name] == 1 else f"{name} ({seen[name]})", sep="\t")
        if not seen:
            raise Missing("no test at all")
    except (Missing, xml.etree.ElementTree.ParseError) as why:
        sys.stdout.flush()
        sys.exit(f"results.py {form}: {why}")


main()
