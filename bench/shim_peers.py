"""Installs the shims that are measured, each in a place of its own below ``build/``, and says how each is started."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
OWN: Final = "mogplex-mcp-shim"

PEERS: Final = {
    "mcp-stdio": "0.45.2",
    "mcp-proxy": "0.13.0",
    "fastmcp-remote": "4.1.4",
    "mcp-remote": "0.15.1",
}
"""The versions that are measured."""


@dataclass(frozen=True)
class Shim:
    """A shim that is installed.

    Attributes:
        name: Its name and version.
        command: What a host would start, but for the server's URL and the credential.
    """

    name: str
    command: tuple[str, ...]

    def started(self, url: str, token: str) -> list[str]:
        """The whole command: each is told the credential in the way its documentation names."""
        header = f"Authorization: Bearer {token}"
        arguments = {
            OWN: [url],
            "mcp-stdio": ["--bearer-token", token, url],
            "mcp-proxy": ["--transport", "streamablehttp", "-H", "Authorization", f"Bearer {token}", url],
            "fastmcp-remote": ["--silent", "--header", header, url],
            "mcp-remote": [url, "--header", header],
        }
        return [*self.command, *arguments[self.name.split()[0]]]


def installed(directory: Path, *, peers: bool) -> tuple[list[Shim], dict[str, str]]:
    """Install what is not installed yet.

    Args:
        directory: Where to.
        peers: Whether others are measured too.

    Returns:
        The shims, this project's first; and for each that could not be installed, why.
    """
    shims = [_own(directory)]
    failed: dict[str, str] = {}
    for name, version in PEERS.items() if peers else ():
        try:
            shims.append(Shim(f"{name} {version}", _peer(directory, name, version)))
        except (OSError, subprocess.CalledProcessError) as error:
            output = error.stderr.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else ""
            failed[name] = output.strip().rpartition("\n")[2] or str(error)
    return shims, failed


def _own(directory: Path) -> Shim:
    """This project's, as it is now, from the wheel that is published."""
    place = _environment(directory / OWN)
    wheel = directory / "wheel"
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", wheel, ROOT / "shim")
    (built,) = wheel.glob("mogplex_mcp_shim-*.whl")
    _run(place / "bin" / "python", "-m", "pip", "install", "--force-reinstall", "--no-deps", built)
    return Shim(OWN, (str(place / "bin" / OWN),))


def _peer(directory: Path, name: str, version: str) -> tuple[str, ...]:
    place = directory / f"{name}-{version}"
    done = place / ".installed"
    if name == "mcp-remote":
        if not done.exists():
            _run("npm", "install", "--prefix", place, "--ignore-scripts", f"{name}@{version}")
        command: tuple[str, ...] = ("node", str(place / "node_modules" / name / "dist" / "proxy.js"))
    else:
        if not done.exists():
            pip = _environment(place) / "bin" / "pip"
            if name == "fastmcp-remote":
                # It pins the newest certifi there is on its release day, which an index may not have yet.
                _run(pip, "install", f"fastmcp-slim[client,server]<={version}")
                _run(pip, "install", "--no-deps", f"fastmcp-slim=={version}")
                _run(pip, "install", "--no-deps", f"{name}=={version}")
            else:
                _run(pip, "install", f"{name}=={version}")
        command = (str(place / "bin" / name),)
    done.touch()
    return command


def _environment(place: Path) -> Path:
    if not (place / "bin" / "python").exists():
        _run(sys.executable, "-m", "venv", place)
    return place


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=600)
