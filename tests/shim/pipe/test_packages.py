"""The packages as they are published: the wheel, and the npm package that carries the same shim."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import psutil
import pytest

from tests.node_runtime import node
from tests.shim.pipe.scripted_server import Legacy, scripted_server
from tests.shim.pipe.shim_process import running_shim, shim_environment

SHIM = Path(__file__).parents[3] / "shim"
MODULES = {str(file.relative_to(SHIM)) for file in (SHIM / "mogplex_mcp_shim").rglob("*.py")}
BARE_PATH = "/usr/bin:/bin"

NO_PYTHON = """\
const fs = require("node:fs");
const processes = require("node:child_process");
const access = fs.accessSync;
fs.accessSync = (file, mode) => { if (/python/.test(file)) throw new Error("ENOENT"); return access(file, mode); };
processes.execFileSync = () => { throw new Error("ENOENT"); };
"""
"""A machine without Python, as Node sees it."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package, installed from its own tarball and without a network; gives its folder."""
    directory = tmp_path_factory.mktemp("npm")
    run("npm", "pack", "--pack-destination", directory, cwd=SHIM / "npm")
    (tarball,) = directory.glob("*.tgz")
    with tarfile.open(tarball) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    assert {f"python/{module}" for module in MODULES} <= names
    assert {"LICENSE", "README.md", "launcher.js", "find_python.js", "python/__main__.py"} <= names
    assert not [name for name in names if "__pycache__" in name]
    run("npm", "install", "--prefix", directory / "installed", "--offline", "--ignore-scripts", tarball)
    return directory / "installed" / "node_modules" / "@mogplex" / "mcp"


@pytest.mark.slow
def test_the_npm_package_runs_with_a_bare_path(npm_package: Path, tmp_path: Path) -> None:
    command = [node(), str(npm_package / "launcher.js")]
    with (
        scripted_server(Legacy()) as server,
        running_shim(tmp_path / "h", server.url, command=command, variables={"PATH": BARE_PATH}) as shim,
    ):
        shim.initialize()
        assert shim.call("tools/call", {"name": "x"})["echo"] == {"name": "x"}
        # Node has made room: what runs under its number is Python.
        assert "python" in psutil.Process(shim.process.pid).cmdline()[0]
        assert shim.close() < 2.0
        assert server.ended == ["session-1"]


@pytest.mark.slow
def test_an_older_node_runs_it_as_a_child_and_ends_with_it(npm_package: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.cjs"
    old.write_text("process.execve = undefined;\n")
    command = [node(), "--require", str(old), str(npm_package / "launcher.js")]
    with scripted_server(Legacy()) as server, running_shim(tmp_path / "h", server.url, command=command) as shim:
        shim.initialize()
        shim.call("ping")
        (child,) = psutil.Process(shim.process.pid).children()
        shim.process.terminate()
        shim.process.wait(5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
        assert server.ended == ["session-1"]


@pytest.mark.slow
def test_without_python_it_says_so_in_one_sentence(npm_package: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.cjs"
    missing.write_text(NO_PYTHON)
    done = subprocess.run(
        [node(), "--require", str(missing), str(npm_package / "launcher.js")],
        env=shim_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs Python 3.11 or newer" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_old_python_on_path_is_passed_over(npm_package: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho False\n")
    old.chmod(0o755)
    variables = {"PATH": f"{old.parent}:{BARE_PATH}"}
    command = [node(), str(npm_package / "launcher.js")]
    with (
        scripted_server(Legacy()) as server,
        running_shim(tmp_path / "h", server.url, command=command, variables=variables) as shim,
    ):
        shim.initialize()
        assert Path(psutil.Process(shim.process.pid).cmdline()[0]) != old


@pytest.mark.slow
def test_the_wheel_holds_all_of_it_and_needs_nothing(tmp_path: Path) -> None:
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, "-w", tmp_path, SHIM)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("METADATA"))
    assert names >= {*MODULES, "mogplex_mcp_shim/py.typed"}
    assert "Requires-Dist" not in metadata
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    run(sys.executable, "-m", "pip", "--python", tmp_path / "venv", "install", "--no-deps", "--quiet", wheel)
    assert run(tmp_path / "venv" / "bin" / "mogplex-mcp-shim", "--version").startswith("mogplex-mcp-shim 0.")
