# SPDX-License-Identifier: MIT
"""The manual pages and what they describe say the same.

Each page passes mandoc's own lint, names only pages that exist, and is in the list of those
installed. Whole programs in pages compile. Options of programs (--help) and keys of the
configuration (asked of the parser by page_facts) are in their pages and in etc/machnet.conf, with
their defaults, and nothing else is; so are counters. Messages that pages explain are in the
programs. Configurations shown in the README, in packaging/cloud and in pages are accepted by the
parser."""
import os
import re
import subprocess
import tempfile

import lint

SECTIONS = {"machnet": "THE SECTION [machnet]", "nic": "SECTIONS [nic NAME]"}
PAGES = re.compile(r"\.[1-9]$")
SAID_MIN = 9  # shorter pieces of a message are in every program
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9_-]*)")


# ---- Reading

def pages_of(top):
    folder = os.path.join(top, "man")
    return {name: lint.read(os.path.join(folder, name))
            for name in sorted(os.listdir(folder)) if PAGES.search(name)}


def plain(line):
    """What a macro line says, roughly: escapes and macro names away."""
    words = line[1:].split() if line.startswith(".") else line.split()
    text = " ".join(w for w in words if not re.fullmatch(r"[A-Z][a-z]|No|Ns", w))
    return text.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\")


def section_of(page, title):
    found = re.search(r"^\.Sh " + re.escape(title) + r"\n(.*?)(?=^\.Sh |\Z)", page, re.M | re.S)
    return found.group(1) if found else ""


def items_of(text, macro):
    """The outer list's items that begin with the macro: first argument -> lines to the next."""
    items, name, depth = {}, None, 0
    for line in text.splitlines():
        depth += line.startswith(".Bl") - line.startswith(".El")
        head = re.match(r"\.It " + macro + r" (\S+)", line)
        if depth == 1 and line.startswith(".It"):
            name = head.group(1) if head else None
            if name:
                items[name] = [line]
        elif name is not None:
            items[name].append(line)
    return items


def literal_blocks(page):
    for block in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", page, re.M | re.S):
        yield block.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\")


# ---- Pages by themselves

def mandoc_findings(path):
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", path],
                          capture_output=True, text=True)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]


def reference_findings(pages, others=()):
    found = []
    ours = {name.rsplit(".", 1)[0] for name in pages}
    for name, text in pages.items():
        for target, section in re.findall(r"\bXr ([\w.-]+) (\d)", text):
            is_ours = target in ours or target.startswith(("machnet", "libmachnet", "msg_gen"))
            page = f"{target}.{section}"
            if is_ours and page not in pages and page not in others:
                found.append(f"man/{name}: refers to {target}({section}), which does not exist")
    return found


def list_findings(pages, cmake):
    listed = re.search(r"set\(MN_MAN_PAGES\s+([^)]*)\)", cmake)
    listed = set(listed.group(1).split()) if listed else set()
    where = "man/CMakeLists.txt: MN_MAN_PAGES"
    return [f"{where} lacks {name}" for name in sorted(set(pages) - listed)] + \
           [f"{where} has {name}, which does not exist" for name in sorted(listed - set(pages))]


def program_findings(pages, include):
    found = []
    for name, text in pages.items():
        for source in literal_blocks(text):
            if not re.search(r"^int\s+main\s*\(", source, re.M):
                continue
            with tempfile.TemporaryDirectory() as directory:
                done = subprocess.run(
                    ["gcc", "-xc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{include}",
                     "-c", "-o", os.path.join(directory, "x.o"), "-"],
                    input=source, capture_output=True, text=True)
            if done.returncode != 0:
                found.append(f"man/{name}: a program in it does not compile:\n{done.stderr}")
    return found


# ---- Programs

def help_options(text):
    return set(OPTION.findall(text))


def page_options(page):
    return {name.lstrip("-") for name in items_of(section_of(page, "OPTIONS"), "Fl")}


def help_commands(text):
    """Words that begin an indented line of the help and are no option."""
    return set(re.findall(r"^ {2,4}([a-z][a-z-]+)(?= |$)", text, re.M))


def page_commands(page):
    return set(items_of(section_of(page, "COMMANDS"), "Cm"))


def program_page_findings(program, text, name, page):
    found = []
    both = [("option --", help_options(text), page_options(page))]
    if section_of(page, "COMMANDS"):
        both.append(("command ", help_commands(text), page_commands(page)))
    for what, in_help, in_page in both:
        found += [f"man/{name}: lacks the {what}{x} of {program} --help"
                  for x in sorted(in_help - in_page)]
        found += [f"{program} --help: lacks the {what}{x} of man/{name}"
                  for x in sorted(in_page - in_help)]
    return found


def said_pieces(item):
    """Of a message as a page shows it, what stands between the parts that vary."""
    return [piece.strip() for piece in
            re.split(r"\.\.\.|: |; |, | \(|\)|`|\b(?:ADDRESS|PORT|PATH|LINE|NAME)\b", plain(item))]


def diagnostics_findings(program, contents, name, page):
    """A page explains only what the program can say: a piece of it is in the program's text."""
    found = []
    for item in re.findall(r"^\.It Sy (.*)$", section_of(page, "DIAGNOSTICS"), re.M):
        pieces = [piece for piece in said_pieces(item) if len(piece) >= SAID_MIN]
        if not any(piece.encode() in contents for piece in pieces):
            found.append(f"man/{name}: {program} says nothing like \"{item}\"")
    return found


def counter_findings(names, page):
    listed = set(items_of(section_of(page, "COUNTERS"), "Li"))
    return [f"man/machnetctl.1: lacks the counter {x}" for x in sorted(names - listed)] + \
           [f"man/machnetctl.1: there is no counter {x}" for x in sorted(listed - names)]


# ---- The configuration

def parse_keys(text):
    keys = {}
    for line in text.splitlines():
        section, name, default, effect, allowed = line.split("\t")
        keys[section, name] = (default, effect, allowed)
    return keys


def key_item_findings(where, lines, key):
    """One key's item in machnet.conf(5): default, effect, each word and number that is allowed."""
    default, effect, allowed = key
    text = "\n".join(plain(line) for line in lines)
    found = []
    shown = re.search(r"^Default:\s+(.*?)\s*\.?$", text, re.M)
    if not shown:
        found.append(f"{where}: no line 'Default:'")
    elif default and shown.group(1).rstrip(" .") != default:
        found.append(f"{where}: its default is {default}, not {shown.group(1)}")
    if f"Takes effect on {effect}." not in text:
        found.append(f"{where}: no sentence 'Takes effect on {effect}.'")
    allowed = re.sub(r"such as \S+( or \S+)?", "", allowed)  # examples
    numbers = re.findall(r"\b\d+[KMG]?\b", allowed)
    words = re.findall(r"(?:^|, )([a-z][a-z0-9_-]*)(?=,|$)", allowed)
    for word in numbers + words:
        if not re.search(r"(?<![\w-])" + re.escape(word) + r"(?![\w-])", text):
            found.append(f"{where}: does not say that {word} is allowed")
    return found


def config_page_findings(keys, page):
    found = []
    for section, title in SECTIONS.items():
        items = items_of(section_of(page, title), "Cm")
        wanted = {name for kind, name in keys if kind == section}
        here = "man/machnet.conf.5:"
        found += [f"{here} lacks the key {x} of [{section}]" for x in sorted(wanted - set(items))]
        found += [f"{here} the parser knows no key {x} in [{section}]"
                  for x in sorted(set(items) - wanted)]
        for name in sorted(wanted & set(items)):
            found += key_item_findings(f"{here} {name}", items[name], keys[section, name])
    return found


def config_file_findings(keys, text, check):
    """etc/machnet.conf: every key once, as a comment, with its default where it has one."""
    found, seen, section, active = [], set(), None, []
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"#?\[(machnet|nic)\b[^\]]*\]$", line)
        key = re.match(r"#?([a-z_]+) = (.+)$", line)
        active.append(line[1:] if line.startswith("#") and (head or key) else line)
        if head:
            section = head.group(1)
        elif key:
            where, name, value = f"etc/machnet.conf:{number}", key.group(1), key.group(2)
            if (section, name) not in keys:
                found.append(f"{where}: the parser knows no key {name} in [{section}]")
            elif (section, name) in seen:
                found.append(f"{where}: {name} a second time")
            elif keys[section, name][0] not in ("", value):
                default = keys[section, name][0]
                found.append(f"{where}: the default of {name} is {default}, not {value}")
            seen.add((section, name))
    found += [f"etc/machnet.conf: lacks the key {name} of [{kind}]"
              for kind, name in keys if (kind, name) not in seen]
    return found + [f"etc/machnet.conf, with every key as shown: {error}"
                    for error in check("\n".join(active) + "\n")]


def shown_configurations(path, text):
    if path.endswith(".md"):
        return re.findall(r"^ *```ini\n(.*?)^ *```", text, re.M | re.S)
    return [block for block in literal_blocks(text)
            if re.search(r"^\[(machnet\]|nic )", block, re.M)]


# ---- All together

def run_check(facts, text):
    done = subprocess.run([facts, "check"], input=text, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        return [f"page_facts: {done.stderr}"]
    return done.stdout.splitlines()


def findings(arguments):
    facts, programs = arguments[0], dict(a.split("=", 1) for a in arguments[1:])
    top, pages, found = lint.TOP, pages_of(lint.TOP), []
    for name in pages:
        found += mandoc_findings(os.path.join(top, "man", name))
    cmake = lint.read(os.path.join(top, "man/CMakeLists.txt"))
    found += list_findings(pages, cmake)
    found += reference_findings(pages, re.findall(r"(\S+\.3)=", cmake))  # aliases
    found += program_findings(pages, os.path.join(top, "include"))
    for page, program in sorted(programs.items()):
        text = lint.run(program, "--help")
        found += program_page_findings(os.path.basename(program), text, page, pages.get(page, ""))
        with open(program, "rb") as file:
            contents = file.read()
        found += diagnostics_findings(os.path.basename(program), contents, page,
                                      pages.get(page, ""))
    counters = set(lint.run(facts, "counters").split())
    found += counter_findings(counters, pages.get("machnetctl.1", ""))
    keys = parse_keys(lint.run(facts, "keys"))
    found += config_page_findings(keys, pages.get("machnet.conf.5", ""))
    found += config_file_findings(keys, lint.read(os.path.join(top, "etc/machnet.conf")),
                                  lambda text: run_check(facts, text))
    shown = {f"man/{name}": text for name, text in pages.items()}
    shown["README.md"] = lint.read(os.path.join(top, "README.md"))
    clouds = lint.files(top, ["packaging/cloud"], ".md")
    shown.update((path, lint.read(full)) for path, full in clouds)
    for path, text in shown.items():
        for block in shown_configurations(path, text):
            found += [f"{path}: a configuration in it: {error}"
                      for error in run_check(facts, block)]
    return found


def self_test(directory):
    head = ".Dd January 1, 2026\n.Dt X 1\n.Os\n.Sh NAME\n.Nm x\n.Nd y\n"
    right = head + ".Sh OPTIONS\n.Bl -tag -width Ds\n.It Fl -good Ar x\nText.\n.El\n" \
                   ".Sh COMMANDS\n.Bl -tag -width Ds\n.It Cm go\nText.\n.El\n"
    lint.write_tree(directory, {"right.1": right, "wrong.1": right + ".Bl -tag\n.Zz\n"})
    assert not mandoc_findings(os.path.join(directory, "right.1"))
    assert mandoc_findings(os.path.join(directory, "wrong.1")), "mandoc finds nothing wrong"

    assert not reference_findings({"machnet.7": ".Xr machnet 7 , .Xr ls 1\n"})
    assert reference_findings({"machnet.7": ".Xr machnetd 8\n"})
    assert not list_findings({"a.1": ""}, "set(MN_MAN_PAGES a.1)")
    assert len(list_findings({"a.1": ""}, "set(MN_MAN_PAGES\n  b.1)")) == 2

    program = ".Bd -literal\n#include <stdio.h>\n" \
              "int main(void) { return puts(\"a\\en\")%s 0; }\n.Ed\n"
    assert not program_findings({"a.7": program % " <"}, ".")
    assert program_findings({"a.7": program % " nonsense"}, ".")

    usage = "usage: x [--good N]\n  go  does it\n  --good N  text\n"
    assert not program_page_findings("x", usage, "x.1", right)
    assert program_page_findings("x", usage + "  --new  text\n", "x.1", right)
    assert program_page_findings("x", usage + "  stop  text\n", "x.1", right)
    assert len(program_page_findings("x", "usage: x\n", "x.1", right)) == 2

    says = ".Sh DIAGNOSTICS\n.It Sy its group ... is shared with ...\nText.\n"
    assert not diagnostics_findings("x", b"..\0is shared with\0", "x.1", says)
    assert diagnostics_findings("x", b"its share", "x.1", says)

    counters = ".Sh COUNTERS\n.Bl -tag -width Ds\n.It Li polls\nText.\n.El\n"
    assert not counter_findings({"polls"}, counters)
    assert len(counter_findings({"sleeps"}, counters)) == 2

    keys = parse_keys("machnet\tlevel\tinfo\treload\tinfo, debug\n"
                      "nic\tsize\t7\trestart\tauto, 1 to 16M\n")
    item = ".Bl -tag -width Ds\n.It Cm %s No = Ar x\n%s\nDefault: %s.\nTakes effect on %s.\n.El\n"
    page = ".Sh THE SECTION [machnet]\n" + item % ("level", "info or debug", "info", "reload") + \
           ".Sh SECTIONS [nic NAME]\n" + item % ("size", "auto, or 1 to 16M", "7", "restart")
    assert not config_page_findings(keys, page), config_page_findings(keys, page)
    for old, new in (("level", "levels"), ("Default: info", "Default: debug"),
                     ("on reload", "on restart"), ("or debug", ""), ("16M", "16G"),
                     ("Default: 7.\n", "")):
        assert config_page_findings(keys, page.replace(old, new)), f"not found out: {new}"

    sample = "[machnet]\n#level = info\n\n#[nic eth1]\n#size = 7\n"
    assert not config_file_findings(
        keys, sample, lambda text: [] if "\nsize = 7\n" in text else ["not as shown"])
    for old, new in (("= info", "= debug"), ("#size = 7\n", ""), ("#level", "#leven"),
                     ("#size", "#size = 7\n#size")):
        wrong = sample.replace(old, new)
        assert config_file_findings(keys, wrong, lambda text: []), f"not found out: {new}"
    assert config_file_findings(keys, sample, lambda text: ["refused"])
    assert shown_configurations("a.md", "```ini\n[nic a]\n```\n") == ["[nic a]\n"]
    blocks = ".Bd -literal\n[nic a]\n.Ed\n.Bd -literal\n[Unit]\n.Ed\n"
    assert shown_configurations("a.7", blocks) == ["[nic a]\n"]


if __name__ == "__main__":
    lint.main(findings, self_test)
