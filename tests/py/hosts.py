"""A small network of machines on this one: each has its own network, host name, clock, processes and shared memory.

mpirun runs on the first, tlt-0, and reaches the others by a launch agent, as it would with ssh. Nothing of it can be
seen from outside, and everything, processes included, ends when the process that opened it does, however that ends."""
import os
import select
import shutil
import subprocess

from conftest import TLT
from worker_run import Run, state, words

NAMES = ["tlt-0", "tlt-1", "tlt-2"]
SPACES = ["--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child"]
# Machines start at different times: the second's clock is behind that of the first, the third's ahead.
CLOCK = ["--time", "--monotonic"] if os.path.exists("/proc/self/ns/time") else []
FIRST_CLOCK = [*CLOCK, "1000000"] if CLOCK else []

# Becomes the first host and lives as long as its standard input. $1: a directory, $2...: names of all hosts.
NETWORK = r"""
set -e
top=$1; shift
keep() { # in a host: what differs from machine to machine; its file says under which number the first one sees it
  read -r number rest < /proc/self/stat
  hostname "$1"
  mount -t proc proc /proc
  mount -t tmpfs tmpfs /dev/shm
  mount --bind "$top/names" /etc/hosts
  ip link set lo up
  echo "$number $(readlink /proc/self/ns/net)" > "$top/new"
  mv "$top/new" "$top/$1"
}
if [ "$TLT_HOST" ]; then keep "$TLT_HOST"; exec sleep 1000000; fi
keep "$1"; shift
ip link add net type bridge
ip addr add 10.77.0.1/24 dev net
ip link set net up
n=1
for name; do
  n=$((n + 1))
  TLT_HOST=$name unshare $SPACES ${CLOCK:+$CLOCK $((n % 2 * 2000000))} sh "$top/network" "$top" </dev/null &
  until [ -e "$top/$name" ]; do kill -0 $!; sleep 0.01; done
  read -r number rest < "$top/$name"
  ip link add "port$n" type veth peer name eth0 netns "$number"
  ip link set "port$n" master net up
  nsenter -t "$number" -n sh -c "ip addr add 10.77.0.$n/24 dev eth0; ip link set eth0 up"
done
echo up
exec cat
"""

# As ssh does: the first argument is the host, the others a line for its shell. No environment goes along.
AGENT = r"""#!/bin/sh
read -r number rest < "{top}/$1"; shift
exec nsenter -t "$number" -a env -i PATH="$PATH" HOME="$HOME" sh -c "$*"
"""


def missing():
    """Why this machine cannot play a network; None: it can."""
    for tool in ("mpirun", "ip", "unshare", "nsenter"):
        if not shutil.which(tool):
            return f"{tool} is not there"
    if os.geteuid() != 0:
        return "network namespaces need root"
    trial = "mount -t tmpfs tmpfs /dev/shm && ip link add net type bridge && ip link add port type veth peer name eth0"
    p = subprocess.run(["unshare", *SPACES, *FIRST_CLOCK, "sh", "-c", trial], capture_output=True, text=True, timeout=30,
                       check=False)
    return f"no network namespaces: {p.stderr.strip()}" if p.returncode else None


class Network:
    def __init__(self, top):
        self.top = str(top)
        names = "".join(f"10.77.0.{i} {name}\n" for i, name in enumerate(NAMES, 1))
        for name, text in (("network", NETWORK), ("names", "127.0.0.1 localhost\n" + names),
                           ("agent", AGENT.format(top=self.top))):
            with open(self.path(name), "w", encoding="ascii") as f:
                f.write(text)
        os.chmod(self.path("agent"), 0o755)
        start = ["unshare", *SPACES, *FIRST_CLOCK, "sh", self.path("network"), self.top, *NAMES]
        with open(self.path("log"), "wb") as log:
            self.p = subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                      env={**os.environ, "SPACES": " ".join(SPACES), "CLOCK": " ".join(CLOCK)})
        if not select.select([self.p.stdout], [], [], 30)[0] or self.p.stdout.readline() != b"up\n":
            self.close()
            raise AssertionError(f"the network did not come up: {self.read('log')}")
        self.host = {self.read(name).split()[1]: name for name in NAMES}
        self.keepers = set(self.everything())

    def path(self, name):
        return os.path.join(self.top, name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def inside(self, name, *command):
        """A command line that runs on a host."""
        hops = [] if name == NAMES[0] else ["nsenter", "-t", self.read(name).split()[0], "-a"]
        return ["nsenter", "-t", self.read(NAMES[0]).split()[0], "-a", "--wd=/", *hops, *command]

    def everything(self):
        """Processes on all hosts, as numbered outside, and their hosts."""
        found = {}
        for pid in (int(n) for n in os.listdir("/proc") if n.isdigit()):
            try:
                space = os.readlink(f"/proc/{pid}/ns/net")
            except OSError:
                continue
            if space in self.host and state(pid) not in "ZX":
                found[pid] = self.host[space]
        return found

    def processes(self):
        return {pid: name for pid, name in self.everything().items() if pid not in self.keepers}

    def received(self, name):
        """Bytes that have come to a host."""
        device = "net" if name == NAMES[0] else "eth0"
        shown = subprocess.run(self.inside(name, "cat", "/proc/net/dev"), capture_output=True, text=True, check=True)
        return next(int(line.split()[1]) for line in shown.stdout.splitlines() if line.split()[0] == f"{device}:")

    def close(self):
        self.p.kill()  # and with it the first host, in which all others live
        self.p.communicate(timeout=10)


class HostRun(Run):
    """`mpirun -host HOSTS tlt train` on the first host; its processes are all that run on any host."""

    def __init__(self, network, hosts, config, directory, *flags, options=()):
        self.network = network
        command = network.inside(NAMES[0], "mpirun", "--mca", "plm_rsh_agent", network.path("agent"), "--mca",
                                 "orte_tmpdir_base", "/dev/shm", *options, "-host", hosts, TLT, "train", str(config),
                                 "--run", str(directory))
        super().__init__(config, directory, *flags, command=command, env={
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})

    def processes(self):
        return list(self.network.processes())

    def named(self, name):
        """The process with this name on the first host, or None."""
        return next((p for p, host in self.network.processes().items()
                     if host == NAMES[0] and words(p, "comm") == [name + "\n"]), None)
