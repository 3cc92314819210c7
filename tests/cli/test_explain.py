import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LAB = ROOT / "tests" / "corpus" / "lab"
FIELDS = ["schema", "path", "kind", "reporting_mta", "detector", "recipients", "original", "warnings", "error"]


def explain(*arguments, stdin=""):
    command = [sys.executable, "-m", "worker.cli", "explain", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(*arguments, stdin=""):
    return [json.loads(line) for line in explain("--json", *arguments, stdin=stdin).splitlines()]


def test_a_message_is_one_object_with_the_contracts_fields():
    (row,) = rows(LAB / "postfix" / "04-user-unknown-failed.eml")
    assert list(row) == FIELDS
    assert row["schema"] == 1
    assert row["recipients"] == [
        {
            "final_recipient": "nobody@customer.test",
            "original_recipient": "nobody@customer.test",
            "action": "failed",
            "status": "5.1.1",
            "smtp_code": "550",
            "diagnostic": "550 5.1.1 <nobody@customer.test> User doesn't exist: nobody@customer.test",
            "type": "hard",
            "reason": "unknown_user",
            "fault": "address",
            "rule": "user-unknown",
        }
    ]
    assert row["original"]["subject"] == "Quarterly offer [user-unknown]"
    assert row["error"] is None


def test_folders_are_walked_and_standard_input_names_paths():
    assert len(rows(LAB)) == 104
    assert len(rows("-", stdin=f"{LAB / 'exim' / '01-unrouteable-failed.eml'}\n\n{LAB / 'postfix'}\n")) == 27


def test_only_what_cannot_be_read_is_an_error(tmp_path):
    big = tmp_path / "big.eml"
    big.write_bytes(b"Subject: x\n\n" + b"a" * 300_000)
    (tmp_path / "empty.eml").write_bytes(b"")
    missing, large, empty = rows(tmp_path / "missing.eml", big, tmp_path / "empty.eml")
    assert missing["error"]
    assert (large["error"], large["warnings"]) == (None, ["only the first 262144 bytes of 300012 were read"])
    assert (empty["error"], empty["warnings"]) == (None, ["the message is empty"])


def test_a_person_reads_the_evidence():
    said = explain(LAB / "postfix" / "04-user-unknown-failed.eml")
    assert "hard: unknown_user" in said
    assert "rule user-unknown" in said
    assert "User doesn't exist" in said
