"""Files of a new node type: where they belong in a project, and what is in them."""

from __future__ import annotations

import keyword
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from engine.errors import PipelineError, UsageError


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with a pyproject.toml that announces a package of nodes."""

    root: Path
    package: str

    def node_path(self, name: str) -> Path:
        """Return the file of a node type, from the root."""
        return Path(*self.package.split("."), *name.split(".")).with_suffix(".py")

    def test_path(self, name: str) -> Path:
        """Return the file of a node type's test, from the root."""
        return Path("tests", "unit", *self.package.split("."), f"test_{name.rpartition('.')[2]}.py")


def find_project(folder: Path) -> Project:
    """Return the project that `folder` is in; raise UsageError where there is none."""
    for root in (folder, *folder.parents):
        file = root / "pyproject.toml"
        if not file.is_file():
            continue
        facts = tomllib.loads(file.read_text("utf-8"))
        packages = facts.get("project", {}).get("entry-points", {}).get("pipeline.nodes", {})
        if packages:
            return Project(root, next(iter(packages.values())))
    raise UsageError(
        f"no project of nodes at or above {folder}: a pyproject.toml announces its package under "
        '[project.entry-points."pipeline.nodes"], as in `my_nodes = "my_nodes"`'
    )


def new_files(project: Project, name: str, node: str, test: str) -> dict[Path, str]:
    """Return the files to write for node type `name` from the two templates; raise UsageError for a bad name."""
    parts = name.split(".")
    bad = [
        part
        for part in parts
        if not part.isidentifier() or keyword.iskeyword(part) or part != part.lower() or part.startswith("_")
    ]
    if bad or len(parts) < 2:
        raise UsageError(f"{name!r} is no name for a node type; write KIND.NAME in lower case, as in models.my_model")
    cls = "".join(word.capitalize() for word in parts[-1].split("_"))
    words = {
        "name": name,
        "cls": cls,
        "imports": _imports(project, f"from {project.package}.{name} import {cls}, {cls}Value"),
    }
    files = {
        project.root / project.node_path(name): node.format(**words),
        project.root / project.test_path(name): test.format(**words),
    }
    for folder in (project.root / project.node_path(name)).parents:
        if folder in (project.root, project.root.parent):
            break
        if folder.with_suffix(".py").exists():
            raise UsageError(f"{folder.with_suffix('.py')} is there; a folder of the same name would hide it")
        if not (folder / "__init__.py").exists():
            files[folder / "__init__.py"] = ""
    return files


def _imports(project: Project, *ours: str) -> str:
    """Return the imports of a test as import sorters want them; `engine` may be the project's own or not."""
    testing = "from engine.testing import run_node"
    if (project.root / "engine").is_dir():
        return "\n".join(["import pytest", "", *sorted([testing, *ours])])
    return "\n".join(["import pytest", testing, "", *ours])


def write_new(files: dict[Path, str]) -> list[Path]:
    """Write files that do not exist yet and return their paths; raise UsageError, writing none, when one does."""
    present = [path for path in files if path.exists()]
    if present:
        raise UsageError(f"already there, and left alone: {', '.join(map(str, present))}; choose another name")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return list(files)


def regenerate(project: Project) -> str:
    """Run the project's own tools/generate.py, if it has one, and return what it printed."""
    if not (project.root / "tools" / "generate.py").is_file():
        return ""
    result = subprocess.run(
        [sys.executable, "-m", "tools.generate"], cwd=project.root, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise PipelineError(f"the files are written, but tools/generate.py failed:\n{result.stderr.strip()}")
    return result.stdout.strip()
