# SPDX-License-Identifier: MIT
"""Looks into the packages of a build: fields, files, contents. Knows both formats, so that a check can
be written once."""
import glob
import gzip
import io
import os
import re
import subprocess
import tarfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failure(Exception):
    """A sentence that says what is wrong."""


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


def run(*arguments, **options):
    """The output of a command that has to succeed."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, **options)
    expect(done.returncode == 0,
           f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def project_version():
    return re.search(r"project\(machnet VERSION ([0-9.]+)", read("CMakeLists.txt")).group(1)


class File:
    """One thing in a package. Folders have no data, links have a target."""

    def __init__(self, path, mode, owner, target="", data=b"", is_folder=False):
        self.path, self.mode, self.owner = path, mode, owner
        self.target, self.data, self.is_folder = target, data, is_folder

    def content(self):
        return gzip.decompress(self.data) if self.path.endswith(".gz") else self.data


class Deb:
    def __init__(self, path):
        self.path = path
        self.fields = {}
        for line in run("dpkg-deb", "-f", path).splitlines():
            if not line.startswith(" ") and ": " in line:
                key, value = line.split(": ", 1)
                self.fields[key] = value
        self.name, self.version = self.fields["Package"], self.fields["Version"]
        self.depends = self._relations("Depends")

    def _relations(self, field):
        return {part.split()[0]: part for part in self.fields.get(field, "").split(", ") if part}

    def files(self):
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", self.path], capture_output=True,
                              check=True).stdout
        found = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                path = "/" + member.name.removeprefix("./").rstrip("/")
                content = tar.extractfile(member).read() if member.isfile() else b""
                found[path] = File(path, member.mode, f"{member.uname}:{member.gname}",
                                   member.linkname, content, member.isdir())
        return found

    def control(self, name):
        """A file of the control archive, or None."""
        data = subprocess.run(["dpkg-deb", "--ctrl-tarfile", self.path], capture_output=True,
                              check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                if member.name == "./" + name:
                    return tar.extractfile(member).read().decode()
        return None

    def extract(self, folder):
        run("dpkg-deb", "-x", self.path, folder)


class Rpm:
    def __init__(self, path):
        self.path = path
        self.name, self.version, self.release = self.query("%{NAME} %{VERSION} %{RELEASE}").split()
        self.requires = set(self.query("[%{REQUIRENEVRS}\n]").splitlines())
        self.provides = set(self.query("[%{PROVIDENEVRS}\n]").splitlines())

    def query(self, form):
        return run("rpm", "-qp", "--nosignature", "--qf", form, self.path)

    def files(self):
        found = {}
        form = "[%{FILEMODES}\t%{FILEUSERNAME}:%{FILEGROUPNAME}\t%{FILELINKTOS}\t%{FILENAMES}\n]"
        for line in self.query(form).splitlines():
            mode, owner, target, path = line.split("\t")
            mode = int(mode) & 0xffff
            found[path] = File(path, mode & 0o7777, owner, target, b"", mode & 0o170000 == 0o040000)
        return found

    def flags(self, letter):
        """The files with one of rpm's flags: c for configuration, l for a licence."""
        lines = self.query("[%{FILEFLAGS:fflags}\t%{FILENAMES}\n]").splitlines()
        return {line.split("\t")[1] for line in lines if letter in line.split("\t")[0]}

    def extract(self, folder):
        os.makedirs(folder, exist_ok=True)
        run("cmake", "-E", "tar", "xf", self.path, cwd=folder)


def load(folder):
    """Name to package of both formats: names differ where the formats do, and `machnet` is a pair."""
    debs = [Deb(path) for path in sorted(glob.glob(os.path.join(folder, "*.deb")))]
    rpms = [Rpm(path) for path in sorted(glob.glob(os.path.join(folder, "*.rpm")))]
    expect(debs and rpms, f"no packages in {folder}; make them with packaging/build.sh --format both")
    return {deb.name: deb for deb in debs}, {rpm.name: rpm for rpm in rpms}
