from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.state.table import pack


@given(st.lists(st.integers(0, 7), max_size=50))
def test_no_row_stands_twice_in_a_batch_and_nothing_is_lost(rows):
    batches = pack(rows)
    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
    for batch in batches:
        taken = [rows[index] for index in batch]
        assert len(set(taken)) == len(taken)
    fewest = max((rows.count(row) for row in set(rows)), default=0)
    assert len(batches) == fewest
