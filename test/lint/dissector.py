# SPDX-License-Identifier: MIT
"""Wireshark's dissector and packet_header.h say the same: constants, types, flags, and where each field is.

The header's side is read from its enums, its constants and the tables of its comments; the dissector's from
the tables at its beginning."""
import os
import re

import lint

HEADER = "daemon/wire/packet_header.h"
LUA = "libmachnet/tools/machnet.lua"


def enum_of(text, name):
    body = re.search(rf"enum (?:class )?{name}\b[^{{]*{{(.*?)}};", text, re.S)
    return {key: int(value) for key, value in
            re.findall(r"^\s*k(\w+) = (\d+),", body.group(1), re.M)} if body else {}


def layouts_of(text):
    """Each table of a comment: {field: (offset, size)}."""
    tables = []
    for line in text.splitlines():
        if re.match(r"//\s+offset size field", line):
            tables.append({})
        row = re.match(r"//\s+(\d+)\s+(\d+)\s+(\w+)", line)
        if row and tables:
            tables[-1][row.group(3)] = (int(row.group(1)), int(row.group(2)))
    return tables


def constants_of(text):
    found = re.findall(r"^constexpr \w+ (k\w+) = (\d+);", text, re.M)
    return {name: int(value) for name, value in found}


def lua_table(text, name):
    body = re.search(rf"^local {name} = {{([^\n]*)}}$|^local {name} = {{\n(.*?)^}}", text, re.M | re.S)
    return (body.group(1) or body.group(2)) if body else ""


def lua_numbers(text, name):
    return {key: int(value) for key, value in re.findall(r"(\w+) = (\d+)", lua_table(text, name))}


def lua_layout(text, name):
    return {key: (int(offset), int(size)) for key, offset, size in
            re.findall(r"(\w+) = {(\d+), (\d+)}", lua_table(text, name))}


def differences(what, header, lua):
    found = [f"{LUA}: lacks the {what} {key} of {HEADER}" for key in sorted(set(header) - set(lua))]
    found += [f"{LUA}: there is no {what} {key} in {HEADER}" for key in sorted(set(lua) - set(header))]
    found += [f"{LUA}: {what} {key} is {lua[key]}, and {header[key]} in {HEADER}"
              for key in sorted(set(lua) & set(header)) if lua[key] != header[key]]
    return found + ([] if header else [f"{HEADER}: found no {what}"])


def findings_in(header, lua):
    types = {name: int(value) for value, name in
             re.findall(r'\[(\d+)\] = "(\w+)"', lua_table(lua, "TYPES"))}
    flags = enum_of(header, "PacketFlag")
    found = differences("type", enum_of(header, "PacketType"), types)
    found += differences("flag", {name.removeprefix("Flag"): value for name, value in flags.items()},
                         lua_numbers(lua, "FLAGS"))
    everything = re.search(r"^local FLAGS_ALL = (\d+)$", lua, re.M)
    if not everything or int(everything.group(1)) != sum(flags.values()):
        found.append(f"{LUA}: FLAGS_ALL is not the sum of the flags")
    found += differences("constant", constants_of(header), lua_numbers(lua, "VALUES"))
    layouts = layouts_of(header)
    if len(layouts) != 2:
        return found + [f"{HEADER}: expected the tables of header and options, found {len(layouts)}"]
    for name, layout in zip(("HEADER", "OPTIONS"), layouts):
        found += differences(f"field in {name}", layout, lua_layout(lua, name))
    return found


def findings(_arguments):
    return findings_in(lint.read(os.path.join(lint.TOP, HEADER)), lint.read(os.path.join(lint.TOP, LUA)))


def self_test(_directory):
    header = lint.read(os.path.join(lint.TOP, HEADER))
    lua = lint.read(os.path.join(lint.TOP, LUA))
    assert not findings_in(header, lua)
    for old, new in (("kClose = 5", "kClose = 9"), ("  kReset = 6,", "  kReset = 6,\n  kMore = 9,"),
                     ("kFlagAckNow = 4", "kFlagAckNow = 16"), ("kVersion = 1", "kVersion = 2"),
                     ("16     4    timestamp", "18     4    timestamp"), ("8    cookie", "4    cookie"),
                     ("2    mss", "2    size"), ("kSackRangesMax = 16", "kSackRangesMax = 8")):
        assert old in header and findings_in(header.replace(old, new, 1), lua), f"not found out: {new}"
    for old, new in (('[5] = "Close"', '[5] = "Closed"'), ("First = 1", "First = 2"), ("tag = {4, 4}", "tag = {4, 2}"),
                     ("FLAGS_ALL = 31", "FLAGS_ALL = 7"), ("kMssMin = 64", "kMssMin = 65")):
        assert old in lua and findings_in(header, lua.replace(old, new, 1)), f"not found out: {new}"


if __name__ == "__main__":
    lint.main(findings, self_test)
