# SPDX-License-Identifier: MIT
"""Purity, as the linker sees it: an archive of a pure folder asks for nothing that allocates, tells the
time, prints, locks or enters the kernel.  symbols.py ARCHIVE..."""
import os
import re
import subprocess
import sys

import lint

# What a pure archive may leave to others. Everything else it must bring itself.
ALLOWED = re.compile("|".join([
    r"mn::.*",                        # of other archives of ours, see OURS
    r"mem(cpy|move|set|cmp|chr)", r"__mem(cpy|move|set)_chk", r"str(len|cmp|ncmp)", r"bcmp",
    r"__(popcount|ctz|clz|ffs|mul|u?div|u?mod|u?divmod)[sdt]i[234]",  # arithmetic of the compiler's own
    r"_GLOBAL_OFFSET_TABLE_", r"__stack_chk_fail", r"__cpu_model", r"__cpu_indicator_init",
    r"__cxa_pure_virtual", r"__gxx_personality_v0", r"_Unwind_Resume",
    r"(vtable|typeinfo|typeinfo name) for mn::.*", r"vtable for __cxxabiv1::.*",
    # A virtual destructor refers to it, whether or not anybody deletes; nothing here may call new.
    r"operator delete\(void\*(, unsigned long)?(, std::align_val_t)?\)",
    r"std::__glibcxx_assert_fail.*",
    # Instrumentation of sanitized and fuzzed builds.
    r"__(asan|ubsan|tsan|sanitizer|sancov)_.*", r"__(start|stop)___sancov_.*",
]))

# Of our own, a pure archive may use pure archives and these of base.
OURS = re.compile(r"mn::(assert_failed|start_allocate|start_free|wire::|transport::|host::"
                  r"|keyed_hash|Congestion|MessageStore)")


def undefined(archive):
    """(demangled symbol) that the archive does not define itself."""
    defined, wanted = set(), set()
    for line in lint.run("nm", "-C", archive).splitlines():
        match = re.match(r"^[0-9a-f ]{16} (\S) (.+)$", line)
        if match:
            (wanted if match[1] in "Uw" else defined).add(match[2])
    return wanted - defined


def findings_for(archive):
    found = []
    for symbol in sorted(undefined(archive)):
        if not ALLOWED.fullmatch(symbol) or (symbol.startswith("mn::") and not OURS.match(symbol)):
            found.append(f"{os.path.basename(archive)}: asks for {symbol}")
    return found


def findings(archives):
    if not archives:
        return ["no archive named"]
    return [sentence for archive in archives for sentence in findings_for(archive)]


def self_test(directory):
    samples = {
        "new": "int* f() { return new int; }",
        "malloc": "#include <stdlib.h>\nvoid* f() { return malloc(3); }",
        "vector": "#include <vector>\nvoid f(std::vector<int>* v) { v->push_back(1); }",
        "clock": "#include <time.h>\nlong f() { timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec; }",
        "chrono": "#include <chrono>\nauto f() { return std::chrono::steady_clock::now(); }",
        "print": "#include <stdio.h>\nvoid f() { puts(\"x\"); }",
        "write": "#include <unistd.h>\nlong f() { return write(1, \"x\", 1); }",
        "dpdk": "extern \"C\" void rte_pktmbuf_free(void*);\nvoid f() { rte_pktmbuf_free(nullptr); }",
        "lock": "#include <mutex>\nvoid f(std::mutex* m) { m->lock(); }",
        "random": "#include <stdlib.h>\nint f() { return rand(); }",
        "log": "namespace mn { void log_info(const char*); }\nvoid f() { mn::log_info(\"x\"); }",
        "channel": "namespace mn { struct Lane { void g(); }; }\nvoid f(mn::Lane* l) { l->g(); }",
    }
    right = ("#include <string.h>\nnamespace mn { [[noreturn]] void assert_failed(const char*, const char*, int)"
             " noexcept; void* start_allocate(unsigned long); struct A { virtual ~A(); }; A::~A() = default; }\n"
             "void* f(char* a, unsigned n) { memset(a, n, n); if (n > 7) mn::assert_failed(a, a, 1);"
             " return mn::start_allocate(n); }")

    def archive(name, text):
        path = os.path.join(directory, name)
        with open(path + ".cc", "w", encoding="utf-8") as file:
            file.write(text)
        subprocess.run(["g++", "-std=c++20", "-O1", "-fPIC", "-fno-exceptions", "-fno-rtti", "-c", path + ".cc",
                        "-o", path + ".o"], check=True)
        subprocess.run(["ar", "rcs", path + ".a", path + ".o"], check=True)
        return path + ".a"

    for name, text in samples.items():
        assert findings_for(archive(name, text)), f"not found out: {name}"
    assert not findings_for(archive("right", right)), findings_for(archive("right", right))


if __name__ == "__main__":
    lint.main(findings, self_test)
    sys.exit(0)
