"""The pre-defined rules: IANA's services.

In: the registry. Out: its group, always the last to be asked.
"""

from dataclasses import replace
from functools import cache
from typing import Final

from columns.registries import services
from columns.rules.model import PREDEFINED_GROUP, Conditions, Group, Rule, RuleBook, RuleText

VERSION: Final = "iana"
PREDEFINED_NUMBER: Final = 1
"""Id of the group."""
_FIRST_NUMBER: Final = 1_000_000_000
"""Ids of its rules are far above those of rules that people write."""


def predefined_group(enabled: bool = True) -> Group:
    """IANA's services, each for both directions, in the order of the registry."""
    return _group() if enabled else replace(_group(), enabled=False)


def default_book() -> RuleBook:
    """The pre-defined rules alone."""
    return RuleBook((predefined_group(),), VERSION)


@cache
def _group() -> Group:
    rules = tuple(
        Rule(
            RuleText(service.name, service.keyword, dst_port=str(service.port), omnidirectional=True),
            Conditions(frozenset({service.protocol}), dst_ports=((service.port, service.port),)),
            position,
            number=_FIRST_NUMBER + position,
        )
        for position, service in enumerate(services())
    )
    return Group(PREDEFINED_GROUP, 0, rules, predefined=True, number=PREDEFINED_NUMBER, description="IANA's service names")
