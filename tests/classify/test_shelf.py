"""Rules edited one by one: ids that stay, files that a pipeline can follow, and what cannot be done."""

from dataclasses import replace
from pathlib import Path

import pytest

from columns.rules.files import read_book
from columns.rules.model import RuleText
from columns.rules.predefined import PREDEFINED_NUMBER
from columns.rules.shelf import ReadOnlyError, Shelf, UnknownRuleError, open_shelf
from columns.rules.text import RuleFileError
from common.errors import ConfigError


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return open_shelf(tmp_path / "rules.yaml")


def _user(shelf: Shelf) -> int:
    return next(group.number for group in shelf.book.groups if not group.predefined)


def _in_files(shelf: Shelf) -> list[tuple[str, str, int, int]]:
    """Group, name, position and id of every rule as a pipeline reads them."""
    book = read_book(shelf.path)
    return [(group.name, rule.name, rule.position, rule.number) for group, rule in book.ranked() if not group.predefined]


def test_rules_are_added_changed_and_removed(shelf: Shelf) -> None:
    group = _user(shelf)
    first = shelf.add(group, RuleText("first", dst_port="1"))
    second = shelf.add(group, RuleText("second", dst_port="2"))
    before = shelf.add(group, RuleText("before", dst_port="3"), position=0)
    assert _in_files(shelf) == [
        ("user-defined", "first", 0, first.number),
        ("user-defined", "before", 0, before.number),
        ("user-defined", "second", 1, second.number),
    ]
    shelf.change(first.number, RuleText("changed", protocol="tcp", dst_port="1"), position=7)
    shelf.remove(second.number)
    assert [(name, position) for _, name, position, _ in _in_files(shelf)] == [("before", 0), ("changed", 7)]
    assert shelf.rule(first.number)[1].conditions.protocols == frozenset({6})


def test_ids_outlive_a_restart(shelf: Shelf) -> None:
    rule = shelf.add(_user(shelf), RuleText("a", dst_port="1"))
    again = open_shelf(shelf.path)
    assert again.rule(rule.number)[1].name == "a"
    assert again.add(_user(again), RuleText("b", dst_port="2")).number > rule.number


def test_a_rule_moves_to_another_group(shelf: Shelf) -> None:
    other = shelf.add_group("other", position=5, description="a trial")
    rule = shelf.add(_user(shelf), RuleText("a", dst_port="1"))
    shelf.change(rule.number, rule.text, group=other.number)
    assert _in_files(shelf) == [("other", "a", 0, rule.number)]
    assert shelf.group(other.number).description == "a trial"


def test_groups(shelf: Shelf) -> None:
    other = shelf.add_group("other", position=5)
    shelf.add(other.number, RuleText("a", dst_port="1"))
    shelf.change_group(other.number, lambda group: replace(group, name="renamed", enabled=False, rules=()))
    assert [(group.name, group.enabled, len(group.rules)) for group in read_book(shelf.path).groups][1] == ("renamed", False, 1)
    assert _in_files(shelf) == []
    files = set(shelf.path.parent.iterdir())
    shelf.remove_group(other.number)
    assert len(files - set(shelf.path.parent.iterdir())) == 1
    with pytest.raises(UnknownRuleError, match=f"there is no group {other.number}"):
        shelf.group(other.number)


def test_import_replaces_all_rules_or_none(shelf: Shelf) -> None:
    group = _user(shelf)
    shelf.add(group, RuleText("old", dst_port="1"))
    with pytest.raises(RuleFileError) as caught:
        shelf.import_csv(group, "a;tcpp;;;;;;\nb;;;;;;;\n")
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [(1, "protocol"), (2, "line")]
    assert [name for _, name, _, _ in _in_files(shelf)] == ["old"]
    shelf.import_csv(group, "a;tcp;;;;;;\nb;udp;;;;;;\n")
    assert [name for _, name, _, _ in _in_files(shelf)] == ["a", "b"]
    assert shelf.export_csv(group).splitlines()[1:] == ["a;tcp;;;;;;false", "b;udp;;;;;;false"]


def test_what_others_write_is_taken_up(shelf: Shelf) -> None:
    group = next(group.number for group in shelf.book.groups if not group.predefined)
    mine = shelf.add(group, RuleText("mine", protocol="tcp"))
    book = shelf.book
    shelf.refresh()
    assert shelf.book is book, "nothing was written by others"
    file = shelf.path.with_name(f"{shelf.path.stem}-{group}.csv")
    file.write_text(file.read_text() + "theirs;udp;;;;;;;1;\n")
    shelf.refresh()
    assert [rule.name for rule in shelf.group(group).rules] == ["mine", "theirs"]
    assert shelf.rule(mine.number)[1].name == "mine"
    shelf.add(group, RuleText("third", protocol="sctp"))
    assert [rule.name for rule in open_shelf(shelf.path).group(group).rules] == ["mine", "theirs", "third"]
    file.write_text("nonsense;;;;;;;\n")
    with pytest.raises(ConfigError, match="at least one condition"):
        shelf.refresh()
    assert len(shelf.group(group).rules) == 3
    assert file.read_text() == "nonsense;;;;;;;\n", "what cannot be read is not overwritten"


def test_search(shelf: Shelf) -> None:
    group = _user(shelf)
    shelf.import_csv(group, "web;tcp;;;10.0.0.1;80;;\nmail;tcp;;;;25;;\n")
    assert [rule.name for _, rule in shelf.find([group])] == ["web", "mail"]
    assert [rule.name for _, rule in shelf.find([group], "10.0.0")] == ["web"]
    assert [rule.name for _, rule in shelf.find(text="MAIL")][:2] == ["mail", "re-mail-ck"]


def test_predefined_rules_can_only_be_switched_off(shelf: Shelf) -> None:
    (_, rule), *_ = shelf.find([PREDEFINED_NUMBER], "https")
    for change in (
        lambda: shelf.remove(rule.number),
        lambda: shelf.change(rule.number, rule.text),
        lambda: shelf.add(PREDEFINED_NUMBER, RuleText("a", dst_port="1")),
        lambda: shelf.remove_group(PREDEFINED_NUMBER),
        lambda: shelf.change_group(PREDEFINED_NUMBER, lambda group: replace(group, name="mine")),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    shelf.change_group(PREDEFINED_NUMBER, lambda group: replace(group, enabled=False))
    assert list(read_book(shelf.path).ranked()) == []
    shelf.add(_user(shelf), RuleText("a", dst_port="1"))
    assert [rule.name for _, rule in read_book(shelf.path).ranked()] == ["a"], "it stays off"


def test_what_cannot_be_done(shelf: Shelf) -> None:
    group = _user(shelf)
    with pytest.raises(RuleFileError, match="srcPort: 'x' is no port"):
        shelf.add(group, RuleText("a", src_port="x"))
    with pytest.raises(RuleFileError, match="there is a group 'user-defined' already"):
        shelf.add_group("user-defined")
    with pytest.raises(RuleFileError, match="a group needs a name"):
        shelf.add_group("")
    with pytest.raises(UnknownRuleError, match="there is no rule 99"):
        shelf.remove(99)


def test_an_operators_book_keeps_its_files(tmp_path: Path) -> None:
    (tmp_path / "sites.csv").write_text("a;tcp;;;;;;\nb;udp;;;;;;\n")
    (tmp_path / "book.yaml").write_text("exported: first\ngroups: [{name: sites, file: sites.csv, position: 3}]\n")
    shelf = open_shelf(tmp_path / "book.yaml")
    shelf.add(_user(shelf), RuleText("c", dst_port="1"))
    assert [(group, name) for group, name, _, _ in _in_files(shelf)] == [("sites", "a"), ("sites", "b"), ("sites", "c")]
    assert read_book(shelf.path).exported == "first"
    assert (tmp_path / "sites.csv").read_text() == "a;tcp;;;;;;\nb;udp;;;;;;\n"
