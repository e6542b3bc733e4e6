# SPDX-License-Identifier: MIT
"""What lintian and rpmlint say, and whether the packages serve: the example builds from libmachnet-dev
alone, completion offers what the programs know, and two builds of one commit are the same."""
import os
import re
import subprocess
import tempfile

from packages import TOP, Failure, expect, project_version, run

PROGRAMS = {"machnetd": "daemon/machnetd", "machnet-nic": "daemon/device/machnet-nic",
            "machnetctl": "libmachnet/tools/machnetctl", "msg_gen": "libmachnet/tools/msg_gen"}


def lintian(debs, _rpms, _build):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning",
                           "--tag-display-limit", "0"] + [deb.path for deb in debs.values()],
                          capture_output=True, text=True, check=False)
    expect(done.returncode == 0 and not re.search(r"^[EW]: ", done.stdout, re.M),
           f"lintian:\n{done.stdout}{done.stderr}")


def rpmlint(_debs, rpms, _build):
    done = subprocess.run(["rpmlint", "-c", f"{TOP}/packaging/rpm/rpmlint.toml"] +
                          [rpm.path for rpm in rpms.values()],
                          capture_output=True, text=True, check=False)
    expect(done.returncode == 0 and " 0 errors, 0 warnings" in done.stdout,
           f"rpmlint:\n{done.stdout}{done.stderr}")
    # Each exception says why.
    with open(f"{TOP}/packaging/rpm/rpmlint.toml", encoding="utf-8") as file:
        before = ""
        for line in file:
            if line.strip().startswith('"'):
                expect(before.strip().startswith(("#", '"')), f"no reason for the filter {line}")
            before = line


def versions(_debs, _rpms, build):
    for name, path in PROGRAMS.items():
        said = run(os.path.join(build, path), "--version").split()
        expect(said[:2] == [name, project_version()], f"{name} --version says {said}")


def example(debs, _rpms, _build):
    """make in a copy of the examples, and find_package: with nothing but the two packages."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "root")
        debs["libmachnet0"].extract(root)
        debs["libmachnet-dev"].extract(root)
        libraries = f"{root}/usr/lib/{run('gcc', '-print-multiarch').strip()}"
        examples = f"{root}/usr/share/doc/libmachnet-dev/examples"
        environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": root,
                       "PKG_CONFIG_LIBDIR": f"{libraries}/pkgconfig",
                       "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1",
                       "LD_LIBRARY_PATH": libraries, "MACHNET_SOCKET": f"{folder}/nobody"}
        run("make", "-C", examples, env=environment)
        says_who_is_missing(f"{examples}/hello_world", environment)

        with open(f"{folder}/CMakeLists.txt", "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.22)\nproject(user C)\n"
                       f"find_package(machnet {project_version()} REQUIRED)\n"
                       f"add_executable(user {examples}/hello_world.c)\n"
                       "target_link_libraries(user PRIVATE machnet::machnet)\n")
        run("cmake", "-S", folder, "-B", f"{folder}/build", f"-DCMAKE_PREFIX_PATH={root}/usr")
        run("cmake", "--build", f"{folder}/build")
        says_who_is_missing(f"{folder}/build/user", environment)


def says_who_is_missing(program, environment):
    done = subprocess.run([program, "--connect", "127.0.0.1"], env=environment, text=True,
                          capture_output=True, timeout=20, check=False)
    expect(done.returncode not in (0, 127) and done.stderr.strip(),
           f"{program} without a service: exit code {done.returncode}, {done.stderr!r}")


def completion(debs, _rpms, build):
    """Every option that a program's --help names is offered, and nothing is printed on loading."""
    with tempfile.TemporaryDirectory() as folder:
        debs["machnet"].extract(folder)
        file = f"{folder}/usr/share/bash-completion/completions/machnetd"

        def complete(program, *words):
            path = os.path.join(build, PROGRAMS[program])
            script = (f'source "{file}" || exit 1; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
                      '_machnet "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}";'
                      'printf "%s\\n" "${COMPREPLY[@]}"')
            return set(run("bash", "--norc", "-c", script, "bash", path, *words).split())

        for program, path in PROGRAMS.items():
            known = set(re.findall(r"--[a-z][a-z_-]*", run(os.path.join(build, path), "--help")))
            offered = complete(program, "--")
            expect(known and offered == known, f"{program}: offered {offered}, known {known}")
            expect(run("bash", "--norc", "-c", f'source "{file}"; complete -p {program}'),
                   f"{program} has no completion")
        expect(complete("machnetd", "--che") == {"--check-config"}, "machnetd --che")
        expect(complete("machnet-nic", "") == {"list", "bind", "unbind", "status"}, "machnet-nic")
        expect(complete("machnet-nic", "--config", "/x", "un") == {"unbind"}, "machnet-nic un")
        expect(complete("machnetd", "--config", f"{folder}/us") == {f"{folder}/usr"}, "file names")


def reproducible(debs, rpms, build):
    """Another folder, at another depth, under another umask, time zone and language, the packages put together on
    another file system: the same bytes."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with (tempfile.TemporaryDirectory(prefix="machnet-again-") as folder,
          tempfile.TemporaryDirectory(prefix="machnet-again-", dir=memory) as out):
        os.chmod(folder, 0o755)
        os.chmod(out, 0o755)
        tree, again = f"{folder}/a/tree/elsewhere", f"{folder}/out"
        os.makedirs(tree)
        names = run("git", "-c", "safe.directory=*", "-C", TOP, "ls-files", "-z").split("\0")
        names = [name for name in names if os.path.lexists(os.path.join(TOP, name)) and name]
        with subprocess.Popen(["tar", "-C", TOP, "--null", "-T", "-", "-cf", "-"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pack:
            with subprocess.Popen(["tar", "-C", tree, "-xf", "-"], stdin=pack.stdout) as unpack:
                pack.stdin.write("\0".join(names))
                pack.stdin.close()
                expect(unpack.wait() == 0 and pack.wait() == 0, "copying the sources failed")
        epoch = run("git", "-c", "safe.directory=*", "-C", TOP, "log", "-1", "--format=%ct").strip()
        environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "CCACHE_DISABLE": "1",
                       "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8"}
        run("bash", "-c", f"umask 077; {tree}/packaging/build.sh --format both --build {again} --out {out}",
            env=environment)
        different = []
        for package in list(debs.values()) + list(rpms.values()):
            other = f"{out}/{os.path.basename(package.path)}"
            expect(os.path.exists(other), f"the second build made no {os.path.basename(other)}")
            if subprocess.run(["cmp", "-s", package.path, other], check=False).returncode != 0:
                different.append(difference(package, type(package)(other), folder))
        if different:
            raise Failure("two builds of one commit differ:\n" + "\n".join(different))


def difference(one, other, folder):
    for package, place in ((one, "one"), (other, "other")):
        os.makedirs(f"{folder}/{place}", exist_ok=True)
        package.extract(f"{folder}/{place}/{one.name}")
    done = subprocess.run(["diff", "-rq", "--no-dereference", f"{folder}/one/{one.name}",
                           f"{folder}/other/{one.name}"], capture_output=True, text=True, check=False)
    names = done.stdout.strip() or "only names, dates or scripts"
    return f"{os.path.basename(one.path)}: {names}"


CASES = [lintian, rpmlint, versions, example, completion, reproducible]
