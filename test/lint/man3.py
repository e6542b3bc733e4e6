# SPDX-License-Identifier: MIT
"""The pages of section 3 say what machnet.h says, and their programs compile.

Every function of libmachnet.map has a page or an alias that leads to one (MN_MAN_LINKS in man/CMakeLists.txt),
which names it and shows its prototype as in the header; pages name and show nothing else. The errors that the
header's comments name are those in the page's ERRORS, structs and constants are the header's, and each program
in EXAMPLES compiles as strict C11 and links with the library alone.  man3.py LIBRARY"""
import os
import re
import subprocess
import tempfile

import exports
import lint

FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
ERRNO = re.compile(r"\bE[A-Z][A-Z0-9]+\b")
ESCAPES = {"\\e": "\\", "\\-": "-", "\\(aq": "'", "\\(ha": "^", "\\(ti": "~", "\\(ga": "`", "\\&": ""}
SECTIONS = ["NAME", "LIBRARY", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "ERRORS", "SEE ALSO"]
OVERVIEW = "libmachnet.3"


# ---- The header

def canonical(text):
    """C without comments, and without spaces that mean nothing."""
    text = " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.S).split())
    return re.sub(r"\s*([*(){},;=\[\]])\s*", r"\1", text)


def prototypes_of(header):
    """Name -> (canonical prototype, the comment before it)."""
    found = {}
    for match in re.finditer(r"/\*((?:(?!\*/).)*)\*/\s*\n([\w][\w *]*?\b(machnet_\w+)\s*\([^)]*\));", header, re.S):
        found[match.group(3)] = (canonical(match.group(2)), match.group(1))
    return found


def structs_of(text):
    return {m.group(1): canonical(m.group(0)) for m in re.finditer(r"struct (\w+) \{.*?\};", text, re.S)}


def constants_of(header):
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    return set(re.findall(r"#define (MACHNET_\w+) ", text)) | set(re.findall(r"(MACHNET_\w+) = \d", text))


def common_errors(header):
    """Those of the header's opening comment, for every function that takes a channel."""
    opening = header.split("*/", 1)[0]
    at = opening.find("Any call on a channel may fail")
    return set(re.findall(r"- (E[A-Z]+):", opening[at:])) if at >= 0 else set()


def errors_of(name, prototypes, common):
    prototype, comment = prototypes[name]
    text = re.sub(r"fail(?:ed|s) with E[A-Z]+", "", " ".join(comment.replace(" * ", " ").split()))
    errors = set(ERRNO.findall(text))
    # What works on a dead channel, too, only refuses wrong arguments.
    if "channel" in prototype:
        errors |= common
    for other in re.findall(r"(?:\bAs|errors as|errno as) (machnet_\w+)", text):
        errors |= errors_of(other, prototypes, common)
    return errors


# ---- A page

def section_of(page, title):
    found = re.search(r"^\.Sh " + re.escape(title) + r"\n(.*?)(?=^\.Sh |\Z)", page, re.M | re.S)
    return found.group(1) if found else ""


def names_of(page):
    return re.findall(r"^\.Nm (\w+)", section_of(page, "NAME"), re.M)


def shown_prototypes(page):
    found, kind, name, arguments = {}, "", None, []
    for line in section_of(page, "SYNOPSIS").splitlines():
        word, _, rest = line.partition(" ")
        pieces = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', rest)]
        if word == ".Ft":
            kind = rest
        elif word == ".Fn":
            found[pieces[0]] = canonical(f"{kind} {pieces[0]}({', '.join(pieces[1:])})")
        elif word == ".Fo":
            name, arguments = pieces[0], []
        elif word == ".Fa":
            arguments += pieces
        elif word == ".Fc":
            found[name] = canonical(f"{kind} {name}({', '.join(arguments)})")
    return found


def shown_errors(page):
    items = re.findall(r"^\.It (.*\bEr\b.*)$", section_of(page, "ERRORS"), re.M)
    return {error for item in items for error in ERRNO.findall(item)}


def literal_blocks(text):
    for block in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", text, re.M | re.S):
        for escape, character in ESCAPES.items():
            block = block.replace(escape, character)
        yield block


def programs_of(page):
    return list(literal_blocks(section_of(page, "EXAMPLES")))


def links_of(cmake):
    listed = re.search(r"set\(MN_MAN_LINKS\s+([^)]*)\)", cmake)
    return dict(item.split("=", 1) for item in listed.group(1).split()) if listed else {}


# ---- Comparisons

def page_findings(name, page, prototypes, common):
    found = []
    for section in SECTIONS:
        if not section_of(page, section):
            found.append(f"man/{name}: no section {section}")
    functions = [] if name == OVERVIEW else names_of(page)
    shown = shown_prototypes(page)
    for function in sorted(set(functions) | set(shown)):
        if function not in prototypes:
            found.append(f"man/{name}: {function} is no function of machnet.h")
        elif function not in functions:
            found.append(f"man/{name}: {function} is in SYNOPSIS and not in NAME")
        elif shown.get(function) != prototypes[function][0]:
            found.append(f"man/{name}: SYNOPSIS has {shown.get(function)}, machnet.h {prototypes[function][0]}")
    wanted = set(common) if name == OVERVIEW else set()
    for function in functions:
        if function in prototypes:
            wanted |= errors_of(function, prototypes, common)
    listed = shown_errors(page)
    found += [f"man/{name}: ERRORS lacks {e}, which machnet.h names" for e in sorted(wanted - listed)]
    found += [f"machnet.h: the comments of what is in man/{name} lack {e}" for e in sorted(listed - wanted)]
    return found


def struct_findings(pages, header):
    found, real = [], structs_of(header)
    shown = {}
    for name, page in pages.items():
        for block in literal_blocks(section_of(page, "DESCRIPTION")):
            for struct, text in structs_of(block).items():
                shown[struct] = name
                if real.get(struct) != text:
                    found.append(f"man/{name}: struct {struct} is not that of machnet.h")
    found += [f"machnet.h: no page shows struct {x}" for x in sorted(set(real) - set(shown))]
    everything = "\n".join(pages.values())
    found += [f"machnet.h: no page names {x}" for x in sorted(constants_of(header))
              if not re.search(r"\bDv " + x + r"\b", everything)]
    return found


def alias_findings(functions, pages, links):
    found = []
    for function in sorted(functions):
        file = f"{function}.3"
        target = file if file in pages else links.get(file)
        if target is None:
            found.append(f"{function} has no page: write man/{file}, or add {file}=PAGE to MN_MAN_LINKS")
        elif target not in pages:
            found.append(f"man/CMakeLists.txt: {file} leads to {target}, which does not exist")
        elif function not in names_of(pages[target]):
            found.append(f"man/{target}: {function} is not in NAME")
    for link in sorted(links):
        if link in pages:
            found.append(f"man/CMakeLists.txt: {link} is a page and a link")
        if re.sub(r"\.3$", "", link) not in functions:
            found.append(f"man/CMakeLists.txt: {link} is no function of libmachnet.map")
    return found


def program_findings(name, page, include, library):
    found, programs = [], programs_of(page)
    if not programs:
        found.append(f"man/{name}: no program in EXAMPLES")
    for number, source in enumerate(programs, 1):
        if not re.search(r"^int main\(", source, re.M):
            found.append(f"man/{name}: example {number} is no complete program")
            continue
        with tempfile.TemporaryDirectory() as directory:
            # A sanitized library asks for what only a sanitized program has.
            done = subprocess.run(["gcc", "-x", "c", *FLAGS, f"-I{include}", "-", "-x", "none", library,
                                   "-Wl,--allow-shlib-undefined", "-o", os.path.join(directory, "program")],
                                  input=source, capture_output=True, text=True)
        if done.returncode != 0:
            found.append(f"man/{name}: example {number} does not compile:\n{done.stderr}")
    return found


def tree_findings(top, library, functions=None):
    folder = os.path.join(top, "man")
    pages = {n: lint.read(os.path.join(folder, n)) for n in sorted(os.listdir(folder)) if n.endswith(".3")}
    header = lint.read(os.path.join(top, "include/machnet.h"))
    prototypes, common = prototypes_of(header), common_errors(header)
    if functions is None:
        functions = exports.mapped(os.path.join(top, "libmachnet/libmachnet.map"))
    found = [f"machnet.h: {x} has no comment of its own" for x in sorted(functions - set(prototypes))]
    if not functions or not common:
        found.append("libmachnet.map has no function, or the opening of machnet.h no errors")
    links = links_of(lint.read(os.path.join(folder, "CMakeLists.txt")))
    found += alias_findings(functions, pages, links)
    for name, page in pages.items():
        found += page_findings(name, page, prototypes, common)
        found += program_findings(name, page, os.path.join(top, "include"), library)
    return found + struct_findings(pages, header)


# ---- Self-test

HEADER = """/* SPDX-License-Identifier: MIT
 * Any call on a channel may fail with:
 * - EINVAL: wrong. */
#define MACHNET_MAX 8 /* bytes */
struct MachnetA { int x; /* one */ };
/* Sends. EAGAIN: full. */
int machnet_a(void* channel, struct MachnetA a);
/* Sends, after a call that failed with EBUSY. */
int machnet_b(void *channel, int x);
/* Whether; errors as machnet_a. */
int machnet_c(void);
"""
PAGE = """.Sh NAME
.Nm machnet_a ,
.Nm machnet_b
.Nd send
.Sh LIBRARY
x
.Sh SYNOPSIS
.Ft int
.Fn machnet_a "void *channel" "struct MachnetA a"
.Ft int
.Fo machnet_b
.Fa "void *channel"
.Fa "int x"
.Fc
.Sh DESCRIPTION
At most
.Dv MACHNET_MAX .
.Bd -literal
struct MachnetA {
  int x;
};
.Ed
.Sh EXAMPLES
.Bd -literal
#include <machnet.h>
int main(void) {
  struct MachnetA a = {\\-1};
  return "\\en"[0] == machnet_a(0, a);
}
.Ed
.Sh ERRORS
.Bl -tag -width Er
.It Bq Er EAGAIN
.It Bq Er EINVAL
.El
.Sh SEE ALSO
.Xr x 1
"""
PAGE_C = PAGE.replace("machnet_a ,\n.Nm machnet_b", "machnet_c")
PAGE_C = re.sub(r"\.Ft int\n\.Fn.*?\.Fc\n", ".Ft int\n.Fn machnet_c void\n", PAGE_C, flags=re.S)
CMAKE = "set(MN_MAN_LINKS\n  machnet_b.3=machnet_a.3)\n"


def self_test(directory):
    def found_in(name, header=HEADER, page=PAGE, cmake=CMAKE):
        top = os.path.join(directory, name)
        lint.write_tree(top, {"include/machnet.h": header, "man/machnet_a.3": page, "man/machnet_c.3": PAGE_C,
                              "man/CMakeLists.txt": cmake, "lib.c": "int machnet_a(void) { return 0; }\n"})
        library = os.path.join(top, "lib.so")
        lint.run("gcc", "-shared", "-fPIC", os.path.join(top, "lib.c"), "-o", library)
        return tree_findings(top, library, {"machnet_a", "machnet_b", "machnet_c"})

    assert not found_in("right"), found_in("right")
    wrong = [("header", "EAGAIN", "EPIPE"), ("header", "- EINVAL:", "- EPROTO:"),
             ("header", "; errors as machnet_a", ""), ("header", "int x; /", "long x; /"),
             ("header", "MACHNET_MAX", "MACHNET_LEAST"),
             ("header", "/* Whether; errors as machnet_a. */\n", ""), ("header", "channel, int x", "channel, long x"),
             ("page", ".It Bq Er EAGAIN\n", ""), ("page", ".It Bq Er EINVAL\n", ".It Bq Er EINVAL\n.It Bq Er EPIPE\n"),
             ("page", "machnet_a ,\n.Nm ", ""), ("page", '"int x"', '"int y"'), ("page", "  int x;", "  char x;"),
             ("page", ".Sh SEE ALSO", ".Sh SEE"), ("page", "{\\-1}", "{+}"), ("page", "int main", "int start"),
             ("page", "machnet_a(0", "machnet_b(0"),
             ("page", "  struct MachnetA a =", "  int unused;\n  struct MachnetA a ="),
             ("cmake", "machnet_b.3=machnet_a.3", ""), ("cmake", "=machnet_a.3", "=machnet_d.3"),
             ("cmake", "=machnet_a.3", "=machnet_c.3"), ("cmake", "a.3)", "a.3\n  machnet_d.3=machnet_a.3)")]
    for number, (where, old, new) in enumerate(wrong):
        text = {"header": HEADER, "page": PAGE, "cmake": CMAKE}[where]
        assert old in text, f"the sample has no {old}"
        assert found_in(str(number), **{where: text.replace(old, new, 1)}), f"not found out: {old} -> {new} ({where})"


if __name__ == "__main__":
    lint.main(lambda arguments: tree_findings(lint.TOP, os.path.abspath(arguments[0])), self_test)
