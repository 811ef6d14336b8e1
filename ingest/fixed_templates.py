"""Records of NetFlow v1, v5 and v7 as templates, so that they are decoded like those of v9 and IPFIX."""

from typing import Final

from ingest.protocols import netflow5
from ingest.templates import Template, make_template


def _template(version: int) -> Template:
    template = make_template(0, netflow5.FIELDS[version], None, 0)
    assert template is not None
    return template


FIXED: Final = {version: _template(version) for version in netflow5.FIELDS}
"""By protocol version; their template id is 0."""
