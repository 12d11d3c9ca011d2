"""A person's git repository for tests, driven by git itself."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from mogplex_mcp.local.git import Repository, open_repository

AUTHOR = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")


@dataclass(frozen=True)
class Project:
    path: Path

    def git(self, *arguments: str, at: Path | None = None) -> str:
        command = ["git", *AUTHOR, *arguments]
        done = subprocess.run(command, cwd=at or self.path, capture_output=True, check=False, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix("\n")

    def commit(self, message: str, **files: str) -> str:
        """Write files (``_`` in a name is a dot) and commit them; the commit's id."""
        for name, text in files.items():
            (self.path / name.replace("_", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def repository(self) -> Repository:
        return open_repository(self.path)

    def state(self) -> dict[str, object]:
        """What is the person's own and a run could touch."""
        inside = self.path / ".git"
        own = [path for path in self.path.rglob("*") if path.is_file() and inside not in path.parents]
        files = {path.relative_to(self.path): path.read_bytes() for path in own}
        return {
            "head": (inside / "HEAD").read_bytes(),
            "index": (inside / "index").read_bytes(),
            "config": (inside / "config").read_bytes(),
            "main": self.git("rev-parse", "main"),
            "stash": self.git("stash", "list"),
            "status": self.git("status", "--porcelain", "--untracked-files=all"),
            "worktrees": self.git("worktree", "list"),
            "files": files,
        }


def make_project(path: Path) -> Project:
    path.mkdir(parents=True)
    project = Project(path)
    project.git("init", "--quiet", "--initial-branch=main")
    project.commit("first", a_txt="one\n")
    return project
