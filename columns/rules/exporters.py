"""The exporter filter of a rule: a condition on the device that saw the flow.

In: a filter in the language of OpenNMS (`categoryName == 'Routers' & ipAddr IPLIKE 10.*.*.*`) and what is known of an exporter.
Out: whether it fits. Refuses to know where the knowledge comes from.

    filter      = conjunction { "|" conjunction }
    conjunction = factor { "&" factor }
    factor      = "!" factor | "(" filter ")" | "catinc"NAME | comparison
    comparison  = ATTRIBUTE ( "==" | "!=" | "LIKE" | "NOT LIKE" ) VALUE | ATTRIBUTE "IPLIKE" PATTERN
                | ATTRIBUTE [ "NOT" ] "IN" "(" VALUE { "," VALUE } ")" | ATTRIBUTE "IS" [ "NOT" ] "NULL"

`=`, `&&`, `||`, `and`, `or` and `not` are accepted too. IPLIKE also takes a network in CIDR form. Comparing an attribute that is
not known is false whatever the comparison, as in SQL; an exporter has any number of categories, and one that fits is enough.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from columns.rules.spans import parse_addresses, parse_iplike
from common.addresses import format_address, pack_address

Predicate = Callable[["Exporter"], bool]


@dataclass(frozen=True, slots=True)
class Exporter:
    """What is known of the device that saw a flow; `address` is its canonical form as an integer, None is unknown."""

    address: int
    location: str | None = None
    node_id: int | None = None
    foreign_source: str | None = None
    foreign_id: str | None = None
    label: str | None = None
    categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ExporterFilter:
    """A filter as written, and the same as a predicate; equal if they are written alike."""

    text: str
    fits: Predicate = field(compare=False, repr=False)


def parse_filter(text: str) -> ExporterFilter:
    """A filter; raises ValueError with the place where it cannot be understood."""
    parser = _Parser(list(_tokens(text)))
    try:
        fits = parser.disjunction()
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None
    if parser.tokens:
        raise ValueError(f"'{parser.tokens[0]}' was not expected")
    return ExporterFilter(text, fits)


def _address(exporter: Exporter) -> str:
    return format_address(exporter.address.to_bytes(16, "big"))


_ATTRIBUTES: Final[dict[str, Callable[[Exporter], Iterable[object]]]] = {
    "ipaddr": lambda exporter: (_address(exporter),),
    "location": lambda exporter: (exporter.location,),
    "nodeid": lambda exporter: (exporter.node_id,),
    "nodelabel": lambda exporter: (exporter.label,),
    "foreignsource": lambda exporter: (exporter.foreign_source,),
    "foreignid": lambda exporter: (exporter.foreign_id,),
    "categoryname": lambda exporter: exporter.categories,
}
_TOKEN: Final = re.compile(r"""\s*(?:(?P<quoted>'[^']*'|"[^"]*")|(?P<sign>\|\||&&|==|!=|[|&!()=,])|(?P<word>[^\s|&!()='",]+))""")
_SIGNS: Final = {"||": "|", "or": "|", "&&": "&", "and": "&", "=": "==", "not": "!"}


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"a quote is not closed at '{text[place:].strip()}'")
        token = found.group().strip()
        yield _SIGNS.get(token.lower(), token)
        place = found.end()


@dataclass(slots=True)
class _Parser:
    """Recursive descent; takes tokens from the front."""

    tokens: list[str]

    def disjunction(self) -> Predicate:
        choices = [self.conjunction()]
        while self._accept("|"):
            choices.append(self.conjunction())
        return choices[0] if len(choices) == 1 else lambda exporter: any(fits(exporter) for fits in choices)

    def conjunction(self) -> Predicate:
        factors = [self.factor()]
        while self._accept("&"):
            factors.append(self.factor())
        return factors[0] if len(factors) == 1 else lambda exporter: all(fits(exporter) for fits in factors)

    def factor(self) -> Predicate:
        if self._accept("!"):
            inner = self.factor()
            return lambda exporter: not inner(exporter)
        if self._accept("("):
            within = self.disjunction()
            self._expect(")")
            return within
        word = self._take("an attribute")
        if word.lower().startswith("catinc") and len(word) > len("catinc"):
            return _any_of("categoryname", lambda value: value == word[len("catinc") :])
        return self._comparison(word.lower())

    def _comparison(self, attribute: str) -> Predicate:
        if attribute not in _ATTRIBUTES:
            raise ValueError(f"no attribute '{attribute}'; there are {', '.join(_ATTRIBUTES)} and catincNAME")
        negated = self._accept("!")
        operator = self._take("a comparison").lower()
        if operator == "is" and not negated:
            return self._null(attribute)
        if operator not in _COMPARISONS or (negated and operator not in ("like", "in")):
            raise ValueError(f"'{'not ' if negated else ''}{operator}' is no comparison")
        fits = _COMPARISONS[operator](self._operands(operator))
        return _any_of(attribute, (lambda value: not fits(value)) if negated else fits)

    def _null(self, attribute: str) -> Predicate:
        negated = self._accept("!")
        if self._take("NULL").lower() != "null":
            raise ValueError("IS is followed by NULL or NOT NULL")
        known = _any_of(attribute, lambda value: True)
        return known if negated else lambda exporter: not known(exporter)

    def _operands(self, operator: str) -> list[str]:
        bracketed = operator == "in"
        if bracketed:
            self._expect("(")
        values = [self._value()]
        while (bracketed or operator == "iplike") and self._accept(","):
            values.append(self._value())
        if bracketed:
            self._expect(")")
        return values

    def _value(self) -> str:
        token = self._take("a value")
        if token in ("|", "&", "!", "(", ")", ","):
            raise ValueError(f"a value is missing before '{token}'")
        return token[1:-1] if token[0] in "'\"" else token

    def _accept(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            del self.tokens[0]
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise ValueError(f"'{token}' is missing {'at the end' if not self.tokens else f'before {self.tokens[0]!r}'}")

    def _take(self, what: str) -> str:
        if not self.tokens:
            raise ValueError(f"{what} is missing at the end")
        return self.tokens.pop(0)


def _any_of(attribute: str, fits: Callable[[str], bool]) -> Predicate:
    values = _ATTRIBUTES[attribute]
    return lambda exporter: any(fits(str(value)) for value in values(exporter) if value is not None)


def _like(operands: list[str]) -> Callable[[str], bool]:
    pattern = "".join({"%": ".*", "_": "."}.get(character, re.escape(character)) for character in operands[0])
    return lambda value: re.fullmatch(pattern, value, re.DOTALL) is not None


def _iplike(operands: list[str]) -> Callable[[str], bool]:
    text = ",".join(operands)
    if "/" in text:
        spans = parse_addresses(text)
        return lambda value: any(first <= _canonical(value) <= last for first, last in spans)
    pattern = parse_iplike(text)
    return lambda value: pattern.matches(_canonical(value))


def _canonical(value: str) -> int:
    try:
        return int.from_bytes(pack_address(value), "big")
    except ValueError:
        return -1


_COMPARISONS: Final[dict[str, Callable[[list[str]], Callable[[str], bool]]]] = {
    "==": lambda operands: lambda value: value == operands[0],
    "!=": lambda operands: lambda value: value != operands[0],
    "like": _like,
    "in": lambda operands: lambda value: value in operands,
    "iplike": _iplike,
}
