"""Which side of the network an interface is on, where the operator says it by names.

In: nodes, and patterns of interface names and aliases. Out: the nodes with `side` filled where no source has said it. Refuses to
know flows.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import translate
from typing import Final

from inventory.model import EXTERNAL, INTERNAL, Interface, Node

_NEVER: Final = re.compile(r"(?!)")


class SidePatterns:
    """Patterns with `*`, `?` and `[...]`, whatever the case; an interface that both fit is external."""

    def __init__(self, external: Sequence[str], internal: Sequence[str]) -> None:
        self._of_side: Mapping[str, re.Pattern[str]] = {EXTERNAL: _any(external), INTERNAL: _any(internal)}
        self._idle = not external and not internal

    def apply(self, nodes: Iterable[Node]) -> list[Node]:
        """The nodes with sides; those that have them already are kept."""
        return list(nodes) if self._idle else [self._node(node) for node in nodes]

    def _node(self, node: Node) -> Node:
        return replace(node, interfaces=tuple(self._interface(each) for each in node.interfaces))

    def _interface(self, interface: Interface) -> Interface:
        if interface.side is not None:
            return interface
        texts = [text for text in (interface.name, interface.alias) if text is not None]
        sides = (side for side, pattern in self._of_side.items() if any(map(pattern.match, texts)))
        side = next(sides, None)
        return interface if side is None else replace(interface, side=side)


def _any(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE) if patterns else _NEVER
