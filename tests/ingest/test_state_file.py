"""The state file: whole or not at all, and an epoch that always rises."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, InputError
from ingest.state import SavedState, load_state, next_epoch, save_state


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "below" / "state.bin"
    for state in (SavedState(5, b"templates"), SavedState(1 << 60, bytes(100_000)), SavedState(7, b"")):
        save_state(path, state)
        assert load_state(path) == state
    assert [each.name for each in path.parent.iterdir()] == ["state.bin"]


def test_no_file_is_an_empty_state(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none") == SavedState()


@pytest.mark.parametrize("cut", [0, 5, 27, 28, 40])
def test_a_cut_file_is_refused_with_its_name(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "state.bin"
    save_state(path, SavedState(5, bytes(range(50))))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"state\.bin: state file is (cut off|damaged)"):
        load_state(path)


@pytest.mark.parametrize("place", [0, 20, 30])
def test_a_changed_octet_is_noticed(tmp_path: Path, place: int) -> None:
    path = tmp_path / "state.bin"
    save_state(path, SavedState(5, bytes(range(50))))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"state\.bin"):
        load_state(path)


def test_a_directory_in_its_place_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_state(tmp_path)
    with pytest.raises(ConfigError, match=r"ingest\.state_file: .* cannot be written"):
        save_state(tmp_path, SavedState())


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62))
def test_the_next_epoch_is_larger_whatever_the_clock_says(former: int, now: int) -> None:
    assert next_epoch(former, now) > former
    assert next_epoch(former, now) >= now
