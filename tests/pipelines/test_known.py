"""What Beam is spared does not change what it sees."""

import pickle
from typing import cast

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import registry
from apache_beam.transforms.core import get_function_args_defaults, get_function_arguments
from apache_beam.transforms.userstate import get_dofn_specs

from transforms.flows import AcceptedBatch, Enrich, LayOut
from transforms.in_place import KnownDoFn
from transforms.lane_state import LaneState


def test_methods_are_described_as_beam_describes_them() -> None:
    for kind in (Enrich, LayOut, LaneState):
        instance = object.__new__(kind)
        for name in ("process", "start_bundle", "finish_bundle", "setup", "teardown"):
            assert get_function_arguments(instance, name) == get_function_args_defaults(getattr(instance, name))


def test_a_description_is_the_own_one_of_each_class() -> None:
    class Wider(KnownDoFn):
        def process(self, element: bytes, stamp: object = beam.DoFn.TimestampParam) -> None:
            """Nothing."""

    names, defaults = get_function_arguments(Wider(), "process")
    assert (names, defaults) == (["element", "stamp"], [beam.DoFn.TimestampParam])
    names.append("changed by the caller")
    assert get_function_arguments(Wider(), "process")[0] == ["element", "stamp"]


def test_state_is_found_where_beam_looks_for_it() -> None:
    for kind in (Enrich, LayOut, LaneState):
        instance = object.__new__(kind)
        found = get_dofn_specs(instance)
        assert found == get_dofn_specs(beside_known(kind))
        assert bool(found[0]) == (kind is LaneState)
        assert not {"display_data", "with_input_types", "__init__"} & set(dir(instance))


def beside_known(kind: type[beam.DoFn]) -> beam.DoFn:
    """The same DoFn, through which Beam goes name by name."""
    plain = type(kind.__name__, (kind,), {"__dir__": object.__dir__})
    return cast("beam.DoFn", object.__new__(plain))


def test_batches_have_a_size_without_being_pickled() -> None:
    batch = AcceptedBatch(1, "c", 2, 3, 4, 5, pa.RecordBatch.from_pydict({"bytes": [7]}))
    coder = registry.get_coder(AcceptedBatch)
    assert coder.get_impl().estimate_size(batch) == 0
    assert coder.decode(coder.encode(batch)) == pickle.loads(pickle.dumps(batch)) == batch
