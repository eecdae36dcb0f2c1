"""Arrays in a file: written by numpy, read back by rules so narrow that a stranger's file can do no harm.

numpy's own reader allocates whatever a header asks for. Here a member must be stored as it is, hold floating point
numbers, and have exactly the bytes that its shape says, so nothing takes more memory than the file has bytes.
The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import io
import math
import re
import struct
from collections.abc import Mapping
from typing import Any, Literal
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    r"\{'descr': '(?P<dtype><f[48])', 'fortran_order': (?P<order>False|True), "
    r"'shape': \((?P<shape>(?:[0-9]{1,12}(?:, ?|(?=\))))*)\), \} *\n"
)
_MOST_MEMBERS = 1_000
_LARGEST = 1e15
"""Beyond it products of weights would leave what float32 holds."""


def arrays_to_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write arrays by name, the same bytes for the same arrays."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def arrays_from_bytes(content: bytes) -> dict[str, NDArray[Any]]:
    """Return what `arrays_to_bytes` wrote; ValueError for anything else, or where a number is none or huge."""
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS or sum(member.file_size for member in members) > len(content):
                raise ValueError("it holds more than its own size")  # members that share bytes
            if any(member.compress_type != ZIP_STORED or member.flag_bits & 1 for member in members):
                raise ValueError("its members are compressed or encrypted")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error) as error:
        msg = f"it is no archive of arrays: {error}"
        raise ValueError(msg) from error


def _array(data: bytes) -> NDArray[Any]:
    begin = len(_MAGIC) + 2
    if not data.startswith(_MAGIC) or len(data) < begin:
        raise ValueError("a member is no array")
    end = begin + int.from_bytes(data[len(_MAGIC) : begin], "little")
    header = _HEADER.fullmatch(data[begin:end].decode("latin-1"))
    if header is None:
        raise ValueError("a member is no array of floating point numbers")
    dtype = np.dtype(header["dtype"])
    shape = tuple(int(size) for size in re.findall("[0-9]+", header["shape"]))
    if len(data) - end != dtype.itemsize * math.prod(shape):
        raise ValueError("a member has not the bytes that its shape says")
    order: Literal["F", "C"] = "F" if header["order"] == "True" else "C"
    values: NDArray[Any] = np.frombuffer(data, dtype, offset=end).reshape(shape, order=order).copy(order="K")
    if not (np.abs(values) <= _LARGEST).all():  # a NaN is not
        msg = f"a member holds numbers beyond {_LARGEST:g}, or none"
        raise ValueError(msg)
    return values
