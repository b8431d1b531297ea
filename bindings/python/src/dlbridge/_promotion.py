"""The dtype that two others are both cast to: NumPy's `result_type`, also where NumPy is not installed."""

from __future__ import annotations

# Of each dtype, from narrow to wide: its kind, the binary digits it has, and the exponent it reaches.
_UNSIGNED, _SIGNED, _FLOAT, _COMPLEX = range(4)
_DTYPES = {
    "bool": (_UNSIGNED, 1, 1),
    "uint8": (_UNSIGNED, 8, 8),
    "int8": (_SIGNED, 7, 7),
    "uint16": (_UNSIGNED, 16, 16),
    "int16": (_SIGNED, 15, 15),
    "uint32": (_UNSIGNED, 32, 32),
    "int32": (_SIGNED, 31, 31),
    "uint64": (_UNSIGNED, 64, 64),
    "int64": (_SIGNED, 63, 63),
    "float8_e4m3fn": (_FLOAT, 4, 8),
    "float8_e5m2": (_FLOAT, 3, 15),
    "float16": (_FLOAT, 11, 15),
    "bfloat16": (_FLOAT, 8, 127),
    "float32": (_FLOAT, 24, 127),
    "float64": (_FLOAT, 53, 1023),
    "complex64": (_COMPLEX, 24, 127),
    "complex128": (_COMPLEX, 53, 1023),
}


def promoted(one: str, other: str) -> str | None:
    """The narrowest that holds the values of both, else float64 or complex128; None for what is never cast."""
    if one not in _DTYPES or other not in _DTYPES:
        return None
    least = [max(each) for each in zip(_DTYPES[one], _DTYPES[other])]
    for name, has in _DTYPES.items():
        if all(x >= y for x, y in zip(has, least)):
            return name
    return "complex128" if least[0] == _COMPLEX else "float64"
