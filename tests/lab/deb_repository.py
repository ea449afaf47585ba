"""An apt repository on the network of a lab: real packages of Debian for hosts that lack them.

Called by tests. What is in it is downloaded once and kept in the cache; a test may take the
repository away, or let it say what is no longer true.
"""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from tests.lab.base import apt_environment, base_tree, run
from tests.lab.cache import built_once, cache_folder, key_of
from tests.lab.hosts import Host
from tests.web_server import WebServer

# In the base tree, because most tests want it; a host that `lacks` has none of it.
ABSENT = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "prometheus-node-exporter")
PACKAGES = (
    "haproxy",
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-node-exporter",
    "prometheus-blackbox-exporter",
    "supervisor",
)
FETCH = Path(__file__).with_name("deb_packages.sh")
SOURCES = "/etc/apt/sources.list"


def packages() -> Path:
    """The folder with the packages and their index; fetched first if it is not in the cache."""
    base = base_tree()
    key = key_of(base.name, *ABSENT, *PACKAGES, FETCH.read_text())

    def build(folder: Path) -> None:
        confined = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command = ["bash", str(FETCH), str(base), str(folder), " ".join(ABSENT), *PACKAGES]
        run([*confined, *command], apt_environment())

    return built_once(cache_folder() / f"debs-{key}", build)


class DebRepository(WebServer):
    """The repository, for the length of a `with` block.

    Args:
        address: this machine's address on the lab's network.

    Attributes:
        without: packages, by their names, that it does not have.
        pool: where it has them; what is asked of another place is not there.
    """

    def __init__(self, address: str) -> None:
        self.folder = packages()
        self.without: set[str] = set()
        self.pool = "pool"
        super().__init__(partial(_Handler, repository=self, directory=str(self.folder)), address)

    def index(self) -> bytes:
        """What it says that it has."""
        entries = (self.folder / "Packages").read_text().split("\n\n")
        kept = "\n\n".join(entry for entry in entries if _name(entry) not in self.without)
        return kept.replace("Filename: pool/", f"Filename: {self.pool}/").encode()

    def offer(self, host: Host) -> None:
        """Let the apt of this host know this repository, and no other; it was not asked yet."""
        host.path(SOURCES).write_text(f"deb [trusted=yes] {self.origin} ./\n")
        host.exec("rm -rf /var/lib/apt/lists/*; apt-get clean")


def _name(entry: str) -> str:
    return entry.strip().partition("\n")[0].removeprefix("Package: ")


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *of_the_server: object, repository: DebRepository, directory: str) -> None:
        self._repository = repository
        super().__init__(*of_the_server, directory=directory)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        place, _, file = self.path.rpartition("/")
        if file == "Packages":
            content = self._repository.index()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        elif file.endswith(".deb") and place.endswith(f"/{self._repository.pool}"):
            self.path = f"/pool/{file}"
            super().do_GET()
        else:
            self.send_error(404)


def lack(host: Host) -> None:
    """Take off this host, and off it alone, what it could have installed.

    Raises:
        RuntimeError: its disk is not one of its own.
    """
    kind = host.exec("findmnt --noheadings --output FSTYPE /").stdout.strip()
    if kind != "overlay" or host.root.is_relative_to(base_tree()):
        raise RuntimeError(f"the disk of {host.name} is no layer of its own: {kind}")
    installed = host.exec(
        f"dpkg-query -W -f='${{Package}} ${{db:Status-Status}}\\n' {' '.join((*ABSENT, *PACKAGES))}"
        " 2>/dev/null | awk '$2 != \"not-installed\" { print $1 }'",
        check=False,
    ).stdout.split()
    if installed:
        host.exec(
            f"DEBIAN_FRONTEND=noninteractive dpkg --purge --force-depends {' '.join(installed)}"
        )
    host.exec("systemctl daemon-reload; systemctl reset-failed")
