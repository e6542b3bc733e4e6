# SPDX-License-Identifier: MIT
"""The include table: who may know whom. A line that needs what its folder may not include is in the
wrong folder."""
import os
import re

import lint

# Folder: what it may include, as folders or single headers; itself is always allowed.
TABLE = {
    "include/ipc": [],
    "daemon/base": [],
    "daemon/wire": ["base"],
    # Names of flows and reasons of their end pass through the transport unchanged.
    "daemon/transport": ["base", "wire", "ipc/shm_layout.h", "ipc/trace.h"],
    "daemon/host": ["base", "wire"],
    "daemon/channel": ["base", "ipc", "wire", "transport/message_store.h"],
    "daemon/device": ["base", "config/config.h", "config/values.h"],
    "daemon/nic": ["base", "device"],
    "daemon/engine": ["base", "wire", "transport", "host", "channel", "ipc", "nic/nic_port.h"],
    "daemon/config": ["base"],
    "daemon/control": ["base", "ipc", "channel", "engine", "host/port_table.h", "config/config.h"],
    "daemon": ["base", "config", "control", "channel", "device", "engine", "nic", "host", "transport",
               "wire", "ipc"],
    "libmachnet": ["ipc", "machnet.h"],
    "libmachnet/tools": ["machnet.h", "ipc", "libmachnet/control_client.h"],
    "libmachnet/examples": ["machnet.h"],
}

# System headers that belong to one folder (and to the program that wires all together).
OWNED = {
    r"rte_.*": {"daemon/nic"},
    r"(bpf/|xdp/|linux/bpf).*": {"daemon/nic"},
    r"systemd/sd-journal\.h": {"daemon/base"},
    r"systemd/(?!sd-journal).*": {"daemon/control", "daemon"},
    r"ini\.h": {"daemon/config"},
    r"(libmnl/|curl/|jansson).*": {"daemon/device"},
}

PURE = ("daemon/wire", "daemon/transport", "daemon/host")
# In a pure folder nothing that allocates, tells the time, prints, locks or asks the system.
PURE_HEADERS = {
    "algorithm", "array", "atomic", "bit", "cerrno", "climits", "compare", "concepts", "cstddef",
    "cstdint", "cstring", "initializer_list", "limits", "memory", "new", "numeric", "optional", "span",
    "stddef.h", "stdint.h", "string.h", "tuple", "type_traits", "utility", "immintrin.h",
}


def allowed(included, folder):
    if folder == "daemon" and "/" not in included:
        return True
    own = folder.split("/", 1)[1] + "/" if folder.startswith(("daemon/", "include/")) else folder + "/"
    if included.startswith(own) and "/" not in included[len(own):]:
        return True
    for entry in TABLE[folder]:
        if included == entry or (not entry.endswith(".h") and included.startswith(entry + "/")):
            return True
    return False


def findings_in(top):
    found = []
    for path, full in lint.files(top, ["daemon", "include", "libmachnet"], (".h", ".cc", ".c")):
        folder = os.path.dirname(path)
        if path == "include/machnet.h" or full.endswith(".bpf.c"):
            continue
        if folder not in TABLE:
            found.append(f"{path}: {folder} is not in the include table of test/lint/includes.py")
            continue
        for number, line in enumerate(lint.read(full).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if not match:
                continue
            where = f"{path}:{number}"
            kind, included = match.groups()
            if ".." in included:
                found.append(f"{where}: {included}: include from a root, not with ..")
            elif kind == '"' or included == "machnet.h":
                if not allowed(included, folder):
                    found.append(f"{where}: {folder} may not include {included}")
            else:
                for pattern, folders in OWNED.items():
                    if re.fullmatch(pattern, included) and folder not in folders:
                        found.append(f"{where}: <{included}> belongs to {' and '.join(sorted(folders))}")
                if folder in PURE and included not in PURE_HEADERS:
                    found.append(f"{where}: <{included}> in a pure folder")
    return found


def self_test(directory):
    wrong = {
        "daemon/transport/a.cc": '#include "channel/lane.h"\n',
        "daemon/wire/a.cc": '#include "transport/transport.h"\n',
        "daemon/engine/a.cc": "#include <rte_mbuf.h>\n",
        "daemon/engine/b.cc": '#include "nic/ethdev.h"\n',
        "daemon/host/a.cc": "#include <vector>\n",
        "daemon/transport/b.cc": "#include <time.h>\n",
        "daemon/control/a.cc": '#include "nic/nic_system.h"\n',
        "daemon/channel/a.cc": '#include "transport/transport.h"\n',
        "libmachnet/a.cc": '#include "base/assert.h"\n',
        "libmachnet/b.cc": '#include "../daemon/base/assert.h"\n',
        "libmachnet/tools/a.cc": '#include "libmachnet/channel.h"\n',
        "daemon/nowhere/a.cc": "\n",
        "include/ipc/a.h": '#include "base/address.h"\n',
    }
    lint.write_tree(directory, wrong)
    lint.write_tree(directory, {"daemon/engine/right.cc": '#include "nic/nic_port.h"\n#include <vector>\n',
                                "daemon/engine/mine.cc": '#include "engine/engine.h"\n'})
    found = findings_in(directory)
    for path in wrong:
        assert any(path in sentence for sentence in found), f"not found out: {path}"
    assert len(found) == len(wrong), f"something right was refused: {found}"


if __name__ == "__main__":
    lint.main(lambda arguments: findings_in(lint.TOP), self_test)
