"""Columns of Arrow and pandas: shared where a buffer shows them, else refused with the call that works."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable
from typing import Any

import pytest

import dlbridge


def test_arrow_nulls_are_counted_and_can_be_filled() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.array([1.0, None, 3.0, None])
    for call in (dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch):
        with pytest.raises(dlbridge.UnsupportedError, match=r"DoubleArray has 2 nulls.*x\.fill_null\(value\)"):
            call(column)
    assert dlbridge.to_numpy(column.fill_null(0)).tolist() == [1, 0, 3, 0]


def test_arrow_shares_what_has_no_nulls() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.array([1.0, 2.0, 3.0])
    tensor = dlbridge.from_dlpack(column)
    assert tensor.data_ptr == column.buffers()[1].address
    assert tensor.readonly
    assert dlbridge.from_dlpack(column.slice(1)).data_ptr == tensor.data_ptr + 8


def test_a_chunked_array_names_combine_chunks() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.chunked_array([[1.0], [2.0, 3.0]])
    with pytest.raises(dlbridge.UnsupportedError, match=r"pieces \(here 2\); pass x\.combine_chunks\(\)"):
        dlbridge.from_dlpack(column)
    assert dlbridge.explain(column, "torch").nbytes == column.nbytes  # they are copied together
    single = pa.chunked_array([[1.0, 2.0]])
    with pytest.raises(dlbridge.UnsupportedError, match=r"pieces \(here 1\); pass x\.chunk\(0\)"):
        dlbridge.from_dlpack(single)
    assert dlbridge.explain(single, "torch").nbytes == 0
    assert dlbridge.from_dlpack(single.chunk(0)).data_ptr == single.chunk(0).buffers()[1].address
    combined = column.combine_chunks()
    assert dlbridge.to_numpy(combined).tolist() == [1, 2, 3]
    with pytest.raises(dlbridge.UnsupportedError, match="ChunkedArray has 1 nulls"):
        dlbridge.from_dlpack(pa.chunked_array([[1.0], [None]]))


DAY = datetime.datetime(1970, 1, 2)

ARROW: dict[str, tuple[list[Any], str, Callable[[Any], Any], list[Any]]] = {
    "bool": ([True, False], r'cast\("uint8"\), or .*', lambda x: x.cast("uint8"), [1, 0]),
    "bool_numpy": ([True], r".*to_numpy\(zero_copy_only=False\)", lambda x: x.to_numpy(zero_copy_only=False), [1]),
    "string": (["1.5"], r".*spell numbers", lambda x: x.cast("float64"), [1.5]),
    "date32[day]": ([DAY.date()], r'pass x\.view\("int32"\)', lambda x: x.view("int32"), [1]),
    "timestamp[us]": ([DAY], r'pass x\.view\("int64"\)', lambda x: x.view("int64"), [86_400_000_000]),
    "time64[us]": ([DAY.time()], r'pass x\.view\("int64"\)', lambda x: x.view("int64"), [0]),
    "duration[us]": (
        [datetime.timedelta(1)],
        r'pass x\.view\("int64"\)',
        lambda x: x.view("int64"),
        [86_400_000_000],
    ),
    "decimal128(2, 1)": (
        [decimal.Decimal("1.5")],
        r'pass x\.cast\("float64"\)',
        lambda x: x.cast("float64"),
        [1.5],
    ),
    "list<item: int64>": ([[1], [2, 3]], r"its values, x\.flatten\(\)", lambda x: x.flatten(), [1, 2, 3]),
    "struct<a: int64>": ([{"a": 7}], r"fields, x\.field\(0\)", lambda x: x.field(0), [7]),
}


@pytest.mark.parametrize("name", ARROW)
def test_arrow_types_without_a_dlpack_type_are_refused_with_the_call_that_works(name: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    values, call, mend, wanted = ARROW[name]
    column = pa.array(values)
    words = rf"Array of type {re.escape(name.removesuffix('_numpy'))} has no DLPack type; .*{call}$"
    for convert in (dlbridge.from_dlpack, dlbridge.to_torch):
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            convert(column)
    assert dlbridge.to_numpy(dlbridge.from_dlpack(mend(column))).tolist() == wanted


def test_an_arrow_dictionary_is_refused_and_what_it_is_of_is_not() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.array([5, 7, 5]).dictionary_encode()
    with pytest.raises(dlbridge.UnsupportedError, match=r"pass x\.indices, or x\.dictionary_decode\(\)$"):
        dlbridge.from_dlpack(column)
    assert dlbridge.to_numpy(column.indices).tolist() == [0, 1, 0]
    assert dlbridge.to_numpy(column.dictionary_decode()).tolist() == [5, 7, 5]


def test_pandas_missing_values_are_counted_and_can_be_filled() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    column = pd.Series([1, None, 3], dtype="Int64")
    words = r"Series of dtype Int64 has 1 missing values; pass x\.to_numpy\(dtype=\.\.\., na_value=\.\.\.\)"
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.from_dlpack(column)
    array = column.to_numpy(dtype="int64", na_value=-1)
    assert dlbridge.to_torch(array, readonly="copy").tolist() == [1, -1, 3]


def test_pandas_objects_name_their_dtype() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    column = pd.Series(["1.5", "2"], dtype=object)
    words = r'holds Python objects \(dtype object\); .*x\.astype\("float64"\)\.to_numpy\(\)'
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.from_dlpack(column)
    assert dlbridge.to_numpy(column.astype("float64").to_numpy()).tolist() == [1.5, 2]
    for plain in (pd.Series([1.0, 2.0]), pd.DataFrame({"a": [1.0]}), pd.Index([1, 2])):
        with pytest.raises(dlbridge.UnsupportedError, match=r"is no array; pass x\.to_numpy\(\)"):
            dlbridge.from_dlpack(plain)
        assert dlbridge.from_dlpack(plain.to_numpy()).size == plain.size
