"""Rules that are edited one by one, as the REST API of OpenNMS does it (`/rest/classifications`).

In: the path of a rule book in YAML, and requests. Out: groups and rules with ids, and the files of the book rewritten whole after
each change, so that a running pipeline takes them up. Refuses to know HTTP. Requests take turns; files that others have changed are
read again before the next one (`refresh`).

A request that cannot be done raises UnknownRuleError, ReadOnlyError, or RuleFileError with everything that is wrong.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from columns.live import Signature, signature_of
from columns.rules.files import files_of, read_book, write_whole
from columns.rules.model import USER_GROUP, Group, Rule, RuleBook, RuleText
from columns.rules.predefined import PREDEFINED_NUMBER, predefined_group
from columns.rules.text import Fault, RuleFileError, parse_rule, read_rules, write_rules
from common.errors import UsageError


class UnknownRuleError(UsageError):
    """No group or rule has this id."""


class ReadOnlyError(UsageError):
    """The pre-defined group and its rules cannot be changed, but switched off."""


@dataclass(slots=True)
class Shelf:
    """A rule book that can be edited; open it with `open_shelf`. Ids are never used again while the process lives."""

    path: Path
    book: RuleBook
    next_number: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    signature: Signature = ()

    def refresh(self) -> None:
        """Take up what others have written into the files since; raises ConfigError where that cannot be used."""
        with self.lock:
            signature = signature_of(files_of(self.path))
            if signature != self.signature:
                book = read_book(self.path)
                self.next_number = max(self.next_number, _first_free(book))
                self.book, self.signature = _numbered(book, self._number), signature

    def group(self, number: int) -> Group:
        """The group with this id; raises UnknownRuleError."""
        found = next((group for group in self.book.groups if group.number == number), None)
        if found is None:
            raise UnknownRuleError(f"there is no group {number}")
        return found

    def rule(self, number: int) -> tuple[Group, Rule]:
        """The rule with this id, and its group; raises UnknownRuleError."""
        for group in self.book.groups:
            for rule in group.rules:
                if rule.number == number:
                    return group, rule
        raise UnknownRuleError(f"there is no rule {number}")

    def find(self, groups: Sequence[int] = (), text: str = "") -> list[tuple[Group, Rule]]:
        """Rules in the order in which they are asked, those of disabled groups included, that contain a text in any column."""
        wanted = {group.number: group for group in self.book.groups if not groups or group.number in groups}
        found = replace(self.book, groups=tuple(replace(group, enabled=True) for group in wanted.values())).ranked()
        return [(wanted[group.number], rule) for group, rule in found if text.lower() in _searched(rule)]

    def add(self, group: int, text: RuleText, position: int | None = None) -> Rule:
        """A new rule, at the end of its group if no position is given."""
        with self.lock:
            target = self._editable(group)
            last = max((rule.position for rule in target.rules), default=-1)
            rule = replace(parse_rule(text, last + 1 if position is None else position), number=self._number())
            self._put(replace(target, rules=(*target.rules, rule)))
            return rule

    def change(self, number: int, text: RuleText, position: int | None = None, group: int | None = None) -> Rule:
        """The rule with other conditions, at another position, or in another group."""
        with self.lock:
            source, former = self.rule(number)
            self._editable(source.number)
            target = source if group is None else self._editable(group)
            rule = replace(parse_rule(text, former.position if position is None else position), number=number)
            without = replace(source, rules=tuple(each for each in source.rules if each.number != number))
            into = without if target.number == source.number else target
            self._put(without, replace(into, rules=(*into.rules, rule)))
            return rule

    def remove(self, number: int) -> None:
        """Without this rule."""
        with self.lock:
            group, _ = self.rule(number)
            self._editable(group.number)
            self._put(replace(group, rules=tuple(rule for rule in group.rules if rule.number != number)))

    def import_csv(self, group: int, text: str, has_header: bool | None = None) -> tuple[Rule, ...]:
        """The rules of a CSV text in place of all rules of the group; raises RuleFileError, and changes nothing then."""
        with self.lock:
            target = self._editable(group)
            rules = tuple(replace(rule, number=self._number()) for rule in read_rules(text, "import", has_header))
            self._put(replace(target, rules=rules))
            return rules

    def export_csv(self, group: int) -> str:
        """The rules of a group in CSV form, in the order in which they are asked."""
        return write_rules(sorted(self.group(group).rules, key=lambda rule: rule.position))

    def add_group(self, name: str, position: int = 0, description: str = "") -> Group:
        """A new group without rules."""
        with self.lock:
            self._check_name(name, 0)
            group = Group(name, position, (), True, False, self._number(), description)
            self._put(group)
            return group

    def change_group(self, number: int, change: Callable[[Group], Group]) -> Group:
        """The group with another name, position, description, or switched on or off; of the pre-defined one only the latter."""
        with self.lock:
            former = self.group(number)
            changed = replace(change(former), rules=former.rules, number=number, predefined=former.predefined)
            if former.predefined and replace(changed, enabled=former.enabled) != former:
                raise ReadOnlyError("the pre-defined group can only be switched on and off")
            self._check_name(changed.name, number)
            self._put(changed)
            return changed

    def remove_group(self, number: int) -> None:
        """Without this group and its rules."""
        with self.lock:
            self._editable(number)
            self._save([group for group in self.book.groups if group.number != number])

    def _editable(self, number: int) -> Group:
        group = self.group(number)
        if group.predefined:
            raise ReadOnlyError("pre-defined rules cannot be changed")
        return group

    def _check_name(self, name: str, number: int) -> None:
        if not name or any(group.name == name and group.number != number for group in self.book.groups):
            message = "a group needs a name" if not name else f"there is a group '{name}' already"
            raise RuleFileError("group", [Fault(0, "name", message)])

    def _number(self) -> int:
        self.next_number += 1
        return self.next_number - 1

    def _put(self, *changed: Group) -> None:
        self._save({group.number: group for group in (*self.book.groups, *changed)}.values())

    def _save(self, groups: Collection[Group]) -> None:
        """CSV files first, then the YAML file that names them, then away with those that it no longer names."""
        kept = [group for group in groups if not group.predefined]
        files = {_file(self.path, group): write_rules(group.rules, numbered=True) for group in kept}
        former = {_file(self.path, group) for group in self.book.groups if not group.predefined}
        predefined = all(group.enabled for group in groups if group.predefined)
        for file, text in files.items():
            write_whole(file, text)
        write_whole(self.path, _layout(self.path, kept, predefined, self.book.exported))
        for file in former - files.keys():
            file.unlink(missing_ok=True)
        self.signature = signature_of(files_of(self.path))
        self.book = _numbered(read_book(self.path), self._number)


def open_shelf(path: Path) -> Shelf:
    """The book of a YAML file, or a new one with an empty user-defined group; raises ConfigError with every fault of its files.

    From then on its groups are in files `rules-ID.csv` beside it; those that it named before are left as they are.
    """
    book = read_book(path) if path.exists() else RuleBook((Group(USER_GROUP, 0, ()), predefined_group()), "")
    shelf = Shelf(path, book, _first_free(book))
    shelf.book = _numbered(book, shelf._number)
    shelf._save(shelf.book.groups)
    return shelf


def _first_free(book: RuleBook) -> int:
    own = [group for group in book.groups if not group.predefined]
    numbers = (number for group in own for number in (group.number, *(rule.number for rule in group.rules)))
    return max([PREDEFINED_NUMBER, *numbers]) + 1


def _numbered(book: RuleBook, number: Callable[[], int]) -> RuleBook:
    """Every group and rule with an id of its own; those that have one keep it."""
    taken: set[int] = set()

    def own(given: int) -> int:
        given = given if given and given not in taken else number()
        taken.add(given)
        return given

    groups = []
    for group in book.groups:
        rules = group.rules if group.predefined else tuple(replace(rule, number=own(rule.number)) for rule in group.rules)
        groups.append(replace(group, number=own(group.number), rules=rules))
    return replace(book, groups=tuple(groups))


def _layout(path: Path, groups: Iterable[Group], predefined: bool, exported: str) -> str:
    entries = [
        {
            "name": group.name,
            "file": _file(path, group).name,
            "position": group.position,
            "enabled": group.enabled,
            "id": group.number,
            "description": group.description,
        }
        for group in groups
    ]
    tree = {"exported": exported, "predefined": predefined, "groups": entries}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _file(path: Path, group: Group) -> Path:
    return path.with_name(f"{path.stem}-{group.number}.csv")


def _searched(rule: Rule) -> str:
    text = rule.text
    ends = (text.src_address, text.src_port, text.dst_address, text.dst_port)
    return ";".join((text.name, text.protocol, *ends, text.exporter_filter)).lower()
