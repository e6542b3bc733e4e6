# SPDX-License-Identifier: MIT
"""What is done on a machine with systemd, however it is reached: containers and virtual machines share it.

Whoever inherits has a `name` and call(args, timeout), which runs a program to its end there."""
import json
import time

from harness import check, patience

NIC = "dp0"
CONFIG = "/etc/machnet.conf"
SERVICE = "machnet.service"
SOCKET = "machnet.socket"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C",
               "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_PAGER": ""}
LISTED = ("family", "local", "prefixlen", "scope", "label")


class Operations:
    def run(self, *args, timeout=60, code=0):
        """Runs it to its end and returns what it wrote; `code` None takes any exit code."""
        done = self.call(args, timeout)
        check(code is None or done.returncode == code,
              f"{self.name}: {' '.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def code(self, *args, timeout=60):
        return self.call(args, timeout).returncode

    def show(self, unit, name):
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, *options):
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=short-precise", *options, code=None)

    def wait_for(self, what, condition, timeout=20):
        """Waits until condition() is true and returns its value; `what` is for the complaint."""
        end = time.monotonic() + patience(timeout)
        while True:
            value = condition()
            if value:
                return value
            check(time.monotonic() < end, f"{self.name}: not within {timeout} s: {what}")
            time.sleep(0.05)

    def start_service(self):
        done = self.call(["systemctl", "start", SERVICE], timeout=60)
        check(done.returncode == 0, f"{self.name}: systemctl start: {done.stderr}")
        check(self.show(SERVICE, "ActiveState") == "active", f"{self.name}: not active after start")

    def stop_service(self, *units):
        self.run("systemctl", "stop", *(units or (SERVICE, SOCKET)), timeout=60)

    def restarts(self):
        return int(self.show(SERVICE, "NRestarts"))

    def service_journal(self, *options):
        return self.journal("--unit", SERVICE, *options)

    def events(self, *matches):
        """The journal's entries of the service as dictionaries."""
        self.run("journalctl", "--sync")
        text = self.run("journalctl", "--no-pager", "--output=json", f"_SYSTEMD_UNIT={SERVICE}", *matches)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    # ---- The network

    def network(self, nic=NIC):
        """What the kernel has configured on the NIC, in a form that can be compared and read."""
        link = json.loads(self.run("ip", "-json", "address", "show", "dev", nic))[0]
        facts = [f"mac {link['address']}", f"mtu {link['mtu']}", f"up {'UP' in link['flags']}"]
        for entry in link["addr_info"]:
            facts.append("address " + " ".join(str(entry.get(key)) for key in LISTED))
        for family in ("-4", "-6"):
            for route in json.loads(self.run("ip", "-json", family, "route", "show", "table", "all",
                                             "dev", nic) or "[]"):
                facts.append("route " + " ".join(f"{key}={route[key]}" for key in sorted(route)
                                                 if key not in ("dev", "flags", "expires")))
        return sorted(facts)
