"""Damage to the files of a model by somebody who knows their form."""

import io
import json
import re
import struct
import zipfile
from typing import Any

import numpy as np

from bench.mutations import Random, damage_bytes, pick

NASTY_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    1e308,
    -1e308,
    0.5,
    "",
    "A",
    "\ud800",
    [],
    {},
    [[]],
    {"": None},
    [None] * 1_000,
    "x" * 100_000,
)
"""What nobody expects in an object of JSON."""


def damage_json(data: bytes, random: Random) -> bytes:
    """Replace, remove or double parts of an object, nest it deeply; else damage bytes."""
    if random.random() < 0.3:
        return damage_bytes(data, random)
    if random.random() < 0.05:
        deep = int(pick(random, [100, 5_000, 200_000]))
        return b"[" * deep + b"]" * deep
    content = json.loads(data)
    for _ in range(int(random.integers(1, 4))):
        _damage_node(content, random)
    return json.dumps(content).encode()


def _damage_node(content: Any, random: Random) -> None:
    node = content
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = pick(random, keys)
        if isinstance(node[key], dict | list) and node[key] and random.random() < 0.7:
            node = node[key]
            continue
        break
    choice = random.random()
    if choice < 0.2:
        del node[key]
    elif choice < 0.3 and isinstance(node, list):
        node.extend(node * int(pick(random, [1, 50])))
    else:
        node[key] = pick(random, NASTY_VALUES)


def damage_trees(data: bytes, random: Random) -> bytes:
    """Change numbers of LightGBM's text, swap or drop its lines; else damage bytes."""
    if random.random() < 0.3:
        return damage_bytes(data, random)
    lines = data.decode().split("\n")
    for _ in range(int(random.integers(1, 6))):
        at = int(random.integers(len(lines)))
        choice = random.random()
        if choice < 0.1:
            del lines[at]
        elif choice < 0.2:
            lines.insert(at, pick(random, lines))
        else:
            lines[at] = _other_number(lines[at], random)
    return "\n".join(lines).encode()


def _other_number(line: str, random: Random) -> str:
    numbers = list(re.finditer(r"-?[0-9][0-9.e+-]*", line))
    if not numbers:
        return line
    found = pick(random, numbers)
    near = str(int(random.integers(-40, 40)))
    nasty = ["-1", "0", "1", "2147483647", "-2147483648", "99999999999999999999", "1e308", "nan", "inf", "", "x", "0 0"]
    return line[: found.start()] + str(pick(random, [near, near, near, *nasty])) + line[found.end() :]


def damage_archive(data: bytes, random: Random) -> bytes:
    """Change headers and values of a numpy archive, and write it anew so that its checksums fit; else damage bytes."""
    if random.random() < 0.3:
        return damage_bytes(data, random)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = str(pick(random, list(members)))
    content = members[name]
    end = 10 + int.from_bytes(content[8:10], "little")
    header, values = content[10:end].decode(), content[end:]
    choice = int(random.integers(7))
    if choice == 0:
        header = re.sub(
            r"\(.*?\)", f"({int(pick(random, [0, 1, 10**9, 10**18]))}, {int(random.integers(0, 99))})", header
        )
    elif choice == 1:
        header = header.replace(
            re.findall(r"<f[48]", header)[0], str(pick(random, ["|O", "<f4", "<f8", "<i8", ">f8", "<U9"]))
        )
    elif choice == 2:
        header = str(pick(random, ["(" * 5_000, "-" * 9_000 + "1", "__import__('os').system('false')", header + "x"]))
    elif choice == 3:
        whole = np.frombuffer(values[: len(values) // 8 * 8], np.float64).copy()
        whole[:1] = pick(random, [np.nan, np.inf, 1e300])
        values = whole.tobytes() + values[len(whole) * 8 :]
    elif choice == 4:
        values = values[: int(random.integers(len(values) + 1))]
    elif choice == 5:
        rows, columns = re.findall("[0-9]+", header[header.index("(") :] + "0 0")[:2]
        header = re.sub(r"\(.*?\)", f"({columns}, {rows})", header)
    else:
        del members[name]
    if name in members:
        members[name] = content[:8] + struct.pack("<H", min(len(header), 65_535)) + header.encode() + values
    out = io.BytesIO()
    how = int(pick(random, [zipfile.ZIP_STORED] * 4 + [zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(out, "w", how) as archive:
        for member, written in members.items():
            archive.writestr(member, written)
    return out.getvalue()
