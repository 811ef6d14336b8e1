"""Rule books in files, and rules that are compiled again when their files change."""

from pathlib import Path

import pytest

from columns.rules.files import read_book
from columns.rules.live import open_rules
from common.errors import ConfigError


def test_a_csv_file_is_the_users_group(tmp_path: Path) -> None:
    path = tmp_path / "rules.csv"
    path.write_text("web;tcp;;;;80;;true\n")
    book = read_book(path)
    assert [(group.name, len(group.rules), group.enabled) for group in book.groups] == [
        ("user-defined", 1, True),
        ("pre-defined", 11_488, True),
    ]
    version = book.version
    path.write_text("web;tcp;;;;81;;true\n")
    assert read_book(path).version != version


def test_a_yaml_file_names_groups(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;tcp;;;;;;\n")
    (tmp_path / "b.csv").write_text("b;udp;;;;;;\n")
    (tmp_path / "rules.yaml").write_text(
        "exported: last\npredefined: false\ngroups:\n"
        "  - {name: one, file: a.csv, position: 5}\n  - {name: two, file: b.csv, position: 3, enabled: false}\n"
    )
    book = read_book(tmp_path / "rules.yaml")
    assert [(group.name, group.position, group.enabled) for group in book.groups] == [
        ("one", 5, True),
        ("two", 3, False),
        ("pre-defined", 0, False),
    ]
    assert (book.exported, [rule.name for _, rule in book.ranked()]) == ("last", ["a"])


def test_faults_of_all_files_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;tcpp;;;;;;\n")
    path = tmp_path / "rules.yaml"
    path.write_text("groups:\n  - {name: one, file: a.csv}\n  - {name: one, file: missing.csv}\n")
    with pytest.raises(ConfigError) as caught:
        read_book(path)
    assert [problem.replace(str(tmp_path), "") for problem in caught.value.problems] == [
        "/rules.yaml: groups: 'one' is there twice",
        "/a.csv: line 1, protocol: 'tcpp' is no IANA protocol keyword or number",
        f"/missing.csv: cannot be read: [Errno 2] No such file or directory: '{tmp_path}/missing.csv'".replace(str(tmp_path), ""),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("groups: [", "not YAML"), ("colour: red", "colour: Extra inputs"), ("groups: [{name: a}]", "groups.0.file")],
)
def test_faults_of_a_yaml_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_book(path)


def test_live_rules_follow_their_file_and_outlive_a_bad_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, now = tmp_path / "rules.csv", [0.0]
    path.write_text("first;tcp;;;;80;;\n")
    live = open_rules(path, clock=lambda: now[0])

    def in_force() -> str:
        live.current()
        if live.worker is not None:
            live.worker.join()
        return live.current().rules[0].name

    path.write_text("the second;tcp;;;;80;;\n")
    assert in_force() == "first", "files are looked at every five seconds, not at every batch"
    now[0] = 5.0
    assert in_force() == "the second"
    path.write_text("bad;tcpp;;;;80;;\n")
    now[0] = 10.0
    assert (in_force(), live.failures) == ("the second", 1)
    assert live.problems == (f"{path}: line 1, protocol: 'tcpp' is no IANA protocol keyword or number",)
    now[0] = 15.0
    assert (in_force(), live.failures) == ("the second", 1), "a file that did not change is not read again"
    fault = f"what was in force stays: {path}: line 1, protocol: 'tcpp' is no IANA protocol keyword or number"
    assert [record.getMessage() for record in caplog.records] == [fault]
    path.unlink()
    now[0] = 20.0
    assert (in_force(), live.failures) == ("the second", 2)
    path.write_text("the last one;tcp;;;;80;;\n")
    now[0] = 25.0
    assert (in_force(), len(live.problems), live.loads) == ("the last one", 0, 3)


def test_rules_that_cannot_be_used_at_start_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        open_rules(tmp_path / "none.csv")
