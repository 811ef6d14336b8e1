"""Rules over HTTP as OpenNMS's clients expect it below `/rest/classifications`, without a web framework.

In: a request (method, path below the prefix, query, headers, body). Out: status, headers, body. Refuses to know sockets; whoever
serves HTTP hands requests over. Refusals are JSON {context, key, message} with status 400; an import that fails names every line.

    GET    /                ?groupFilter= query= limit= offset=     rules of enabled groups, 204 if there are none
    POST   /                a rule; 201 with its Location, or CSV   DELETE /?groupId=    all rules of a group
    GET, PUT, DELETE /{id}                                          POST /classify       {classification}, 204 for none
    GET, POST /groups       GET, PUT, DELETE /groups/{id}           POST /groups/{id}    CSV in place of its rules
    GET    /groups/{id}     as CSV with Accept: text/comma-separated-values or ?format=csv
    GET    /protocols
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from columns.classify import NOTHING_KNOWN, Exporters
from columns.registries import protocol_numbers
from columns.rules.cases import FlowText, known_flow
from columns.rules.explain import matches
from columns.rules.shapes import GroupBody, RuleBody, fault_json, group_json, rule_json
from columns.rules.shelf import ReadOnlyError, Shelf, UnknownRuleError
from columns.rules.text import Fault, RuleFileError
from common.errors import UsageError

CSV: Final = "text/comma-separated-values"
_JSON: Final = "application/json"
_LIMIT: Final = 10
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is what follows /rest/classifications; header names are in lower case."""

    method: str
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class _BadRequestError(UsageError):
    """The request cannot be understood; `fault` says where."""

    def __init__(self, context: str, message: str) -> None:
        self.fault = Fault(0, context, message)
        super().__init__(f"{context}: {message}")


@dataclass(frozen=True, slots=True)
class Classifications:
    """The resource /rest/classifications over a shelf of rules."""

    shelf: Shelf
    prefix: str = "/rest/classifications"
    exporters: Callable[[], Exporters] = lambda: NOTHING_KNOWN

    def handle(self, request: Request) -> Response:
        """The answer to a request; never raises for anything in it, but ConfigError for files that cannot be read or written."""
        path = request.path.rstrip("/")
        routes = {method: (serve, found) for method, pattern, serve in _ROUTES if (found := re.fullmatch(pattern, path))}
        if request.method not in routes:
            return Response(405 if routes else 404)
        serve, found = routes[request.method]
        return self._served(serve, request, *map(int, found.groups()))

    def _served(self, serve: "Serve", request: Request, *numbers: int) -> Response:
        try:
            self.shelf.refresh()
            return serve(self, request, *numbers)
        except UnknownRuleError:
            return Response(404)
        except ReadOnlyError as error:
            return _refused(Fault(0, "group", str(error)))
        except RuleFileError as error:
            return _refused(error.faults[0])
        except _BadRequestError as error:
            return _refused(error.fault)

    def _rules(self, request: Request) -> Response:
        wanted = [_whole("groupFilter", part) for part in request.query.get("groupFilter", "").split(",") if part.strip()]
        found = [(group, rule) for group, rule in self.shelf.find(wanted, request.query.get("query", "").strip()) if group.enabled]
        return _page([rule_json(group, rule) for group, rule in found], request)

    def _add_rule(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == CSV:
            return self._import_rules(request, self._first_group())
        body = _parsed(RuleBody, request.body)
        rule = self.shelf.add(self._first_group() if body.group is None else body.group.id, body.text())
        return Response(201, headers={"Location": f"{self.prefix}/{rule.number}"})

    def _first_group(self) -> int:
        own = [group.number for group in self.shelf.book.groups if not group.predefined]
        if not own:
            raise _BadRequestError("group", "there is no group to put rules into")
        return own[0]

    def _remove_rules(self, request: Request) -> Response:
        self.shelf.import_csv(_whole("groupId", request.query.get("groupId", "")), "")
        return Response(204)

    def _rule(self, _request: Request, number: int) -> Response:
        return _answer(rule_json(*self.shelf.rule(number)))

    def _change_rule(self, request: Request, number: int) -> Response:
        body = _parsed(RuleBody, request.body)
        self.shelf.change(number, body.text(), body.position, None if body.group is None else body.group.id)
        return self._rule(request, number)

    def _remove_rule(self, _request: Request, number: int) -> Response:
        self.shelf.remove(number)
        return Response(204)

    def _classify(self, request: Request) -> Response:
        flow = known_flow(_parsed(FlowText, request.body), self.exporters())
        first = next(matches(tuple(self.shelf.book.ranked()), flow), None)
        return Response(204) if first is None else _answer({"classification": first.rule.name})

    def _groups(self, request: Request) -> Response:
        return _page([group_json(group) for group in self.shelf.book.groups], request)

    def _add_group(self, request: Request) -> Response:
        body = _parsed(GroupBody, request.body)
        group = self.shelf.add_group(body.name or "", body.position or 0, body.description or "")
        return Response(201, headers={"Location": f"{self.prefix}/groups/{group.number}"})

    def _group(self, request: Request, number: int) -> Response:
        if CSV not in request.headers.get("accept", "") and request.query.get("format", "").lower() != "csv":
            return _answer(group_json(self.shelf.group(number)))
        headers = {"Content-Type": CSV, "Content-Disposition": f'attachment; filename="{number}_rules.csv"'}
        return Response(200, self.shelf.export_csv(number).encode(), headers)

    def _change_group(self, request: Request, number: int) -> Response:
        return _answer(group_json(self.shelf.change_group(number, _parsed(GroupBody, request.body).changed)))

    def _remove_group(self, _request: Request, number: int) -> Response:
        self.shelf.remove_group(number)
        return Response(204)

    def _import_rules(self, request: Request, number: int) -> Response:
        try:
            self.shelf.import_csv(number, request.body.decode(), request.query.get("hasHeader", "true").lower() == "true")
        except UnicodeDecodeError as error:
            raise _BadRequestError("import", "the body is no UTF-8 text") from error
        except RuleFileError as error:
            errors = {str(fault.line): fault_json(fault) for fault in reversed(error.faults)}
            return _answer({"errors": errors, "success": False}, 400)
        return Response(204)

    def _protocols(self, _request: Request) -> Response:
        return _answer([{"decimal": number, "keyword": keyword} for keyword, number in protocol_numbers().items()])


Serve = Callable[..., Response]

_ROUTES: Final[Sequence[tuple[str, str, Serve]]] = (
    ("GET", "", Classifications._rules),
    ("POST", "", Classifications._add_rule),
    ("DELETE", "", Classifications._remove_rules),
    ("GET", r"/(\d{1,18})", Classifications._rule),
    ("PUT", r"/(\d{1,18})", Classifications._change_rule),
    ("DELETE", r"/(\d{1,18})", Classifications._remove_rule),
    ("POST", "/classify", Classifications._classify),
    ("GET", "/groups", Classifications._groups),
    ("POST", "/groups", Classifications._add_group),
    ("GET", r"/groups/(\d{1,18})", Classifications._group),
    ("PUT", r"/groups/(\d{1,18})", Classifications._change_group),
    ("DELETE", r"/groups/(\d{1,18})", Classifications._remove_group),
    ("POST", r"/groups/(\d{1,18})", Classifications._import_rules),
    ("GET", "/protocols", Classifications._protocols),
)


def _parsed(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors()[0]
        context = ".".join(map(str, fault["loc"])) or "body"
        raise _BadRequestError(context, fault["msg"].removeprefix("Value error, ")) from error


def _whole(name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise _BadRequestError(name, f"'{text}' is no whole number")
    return int(text)


def _page(items: Sequence[Any], request: Request) -> Response:
    """A part of a list as OpenNMS pages it: limit 10 unless given, 0 for all; 204 where there is nothing."""
    offset, limit = (_whole(name, request.query.get(name, default)) for name, default in (("offset", "0"), ("limit", str(_LIMIT))))
    shown = items[offset : offset + limit] if limit else items[offset:]
    if not shown:
        return Response(204)
    response = _answer(shown)
    return replace(
        response, headers={**response.headers, "Content-Range": f"items {offset}-{offset + len(shown) - 1}/{len(items)}"}
    )


def _answer(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": _JSON})


def _refused(fault: Fault) -> Response:
    return _answer(fault_json(fault), 400)
