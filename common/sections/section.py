"""What all sections of the configuration have in common: unknown keys are faults, values never change."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration; refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        ipaddress.ip_network(network)
    return networks


def _check_address(address: str) -> str:
    return str(ipaddress.ip_address(address))


Networks = Annotated[tuple[str, ...], AfterValidator(_check_networks)]
Address = Annotated[str, AfterValidator(_check_address)]
