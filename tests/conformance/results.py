"""Turns what test runners print into lines of a status, a tab and a test's name: results.py FORMAT [PREFIX] <OUTPUT."""

import json
import re
import sys
import xml.etree.ElementTree


def tap(text, prefix):
    """Perl's Test Anything Protocol, of one file."""
    planned, seen = None, 0
    for line in text.splitlines():
        plan = re.match(r"1\.\.(\d+)(\s*#\s*skip.*)?", line, re.I)
        if plan:
            planned = int(plan[1])
            if planned == 0:
                yield "skip", prefix
            continue
        match = re.match(r"(not )?ok\b\s*(\d*)\s*-?\s*([^#]*)(#\s*(skip|todo).*)?", line, re.I)
        if match:
            seen += 1
            # What is not told in advance (connection numbers, times, addresses) does not name a test.
            words = re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "N", match[3].strip())
            name = f"{prefix} {match[2] or seen} {words}".strip()
            if match[5] and match[5].lower() == "skip":
                yield "skip", name
            else:
                yield "fail" if match[1] and not match[5] else "ok", name
    if planned is None or planned > 0:
        yield "ok" if planned is not None and seen == planned else "fail", f"{prefix} runs all its tests"


def go(text, prefix):
    """go test -json, and what `go tool test2json` makes of go test -v."""
    words = {"pass": "ok", "fail": "fail", "skip": "skip"}
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("Test") and event.get("Action") in words:
            yield words[event["Action"]], event["Test"]


def junit(text, prefix):
    """pytest --junit-xml, and RSpec's and PHPUnit's of that form."""
    for case in xml.etree.ElementTree.fromstring(text).iter("testcase"):
        kinds = {child.tag for child in case}
        status = "fail" if kinds & {"failure", "error"} else "skip" if "skipped" in kinds else "ok"
        yield status, f"{case.get('classname')}::{case.get('name')}"


def cargo(text, prefix):
    """cargo test."""
    words = {"ok": "ok", "FAILED": "fail", "ignored": "skip"}
    for match in re.finditer(r"^test (\S+)(?: - should panic)? \.\.\. .*?\b(ok|FAILED|ignored)\b", text, re.M):
        yield words[match[2]], match[1]


def php(text, prefix):
    """PHP's run-tests.php."""
    words = {"PASS": "ok", "FAIL": "fail", "SKIP": "skip", "BORK": "fail", "XFAIL": "fail", "WARN": "fail", "LEAK": "fail"}
    for match in re.finditer(r"^(PASS|FAIL|SKIP|BORK|XFAIL|WARN|LEAK)(?:&\w+)? .*?\[([^\]]+\.phpt)\]", text, re.M):
        yield words[match[1]], match[2].split("ext/")[-1]


def lines(text, prefix):
    """Programs of ours: they write the lines themselves."""
    for line in text.splitlines():
        status, tab, name = line.partition("\t")
        if tab and status in ("ok", "fail", "skip"):
            yield status, name


def main():
    form, prefix = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    for status, name in globals()[form](text, prefix):
        print(status, name.replace("\n", " ").replace("\t", " "), sep="\t")


main()
