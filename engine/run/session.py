"""From files to a finished run: load, check, plan, run the variants and the topology, and name what was written."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.run.backtest import Summary, backtest
from engine.run.folder import MARK, PAGE, digest, make_empty, mark, read_mark
from engine.run.replay import Replayed, replay
from engine.topology.check import checked
from engine.topology.load import as_sets, load_topology, resolve_secrets
from engine.topology.model import Topology
from engine.topology.plan import Plan, make_plan

if TYPE_CHECKING:
    from engine.cli._progress import ProgressLine


@dataclass(frozen=True, slots=True)
class Result:
    """What a run left behind. `page` is the text that a sink wants to be shown at the end (its `report.txt`)."""

    name: str
    out: Path
    summary: Summary
    variants: dict[str, Summary] = field(default_factory=dict)
    page: str = ""
    written: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "topology": self.name,
            "out": str(self.out),
            "summary": asdict(self.summary),
            "variants": {name: asdict(summary) for name, summary in self.variants.items()},
            "written": list(self.written),
        }


def load_plan(files: list[Path], sets: list[str], run_dir: Path) -> Plan:
    """Load, check and plan a topology; raise TopologyError with all problems."""
    return checked_plan(load_topology(files, sets), run_dir)


def checked_plan(topology: Topology, run_dir: Path) -> Plan:
    """Check a topology and plan it with its secrets filled in; the plan's own topology keeps the references."""
    checked(topology, offline=True)
    return replace(make_plan(resolve_secrets(topology), run_dir), topology=topology)


def run_backtest(
    files: list[Path],
    sets: list[str],
    *,
    progress: ProgressLine,
    out: Path | None = None,
    seed: int = 0,
    record: bool = True,
    only: frozenset[str] = frozenset(),
    with_variants: bool = True,
    force: bool = False,
) -> Result:
    """Run a topology's variants and then the topology itself; what they write goes under the run folder.

    Raises UsageError when the folder holds something else than a run, or a run that was not to be replaced.
    """
    topology = load_topology(files, sets)
    folder = out or Path("runs") / topology.name
    plan = checked_plan(topology, folder)
    if strangers := only - topology.nodes.keys():
        raise UsageError(f"no node {', '.join(sorted(strangers))}; the topology has {', '.join(topology.nodes)}")
    # All variants are planned before anything starts: a mistake in the last must not cost the time of the first.
    planned = {
        variant.name: load_plan(files, [*sets, *as_sets(variant)], folder / "variants" / variant.name)
        for variant in (topology.variants.values() if with_variants else ())
    }
    make_empty(folder, replace=force or out is None)
    mark(folder, files, sets, seed, topology)
    variants: dict[str, Summary] = {}
    for name, changed in planned.items():
        progress.begin(f"variant {name}:")
        variants[name] = backtest(changed, folder / "variants" / name, seed=seed, record=False, progress=progress)
    progress.begin(f"{topology.name}:")
    summary = backtest(plan, folder, seed=seed, record=record, only=only, progress=progress)
    page = folder / PAGE
    return Result(
        name=topology.name,
        out=folder,
        summary=summary,
        variants=variants,
        page=page.read_text(encoding="utf-8") if page.exists() else "",
        written=tuple(
            str(path) for path in sorted(folder.glob("*")) if path.name not in (MARK, PAGE) and path.is_file()
        ),
    )


def run_replay(run: Path, out: Path | None, *, only: frozenset[str] = frozenset(), force: bool = False) -> Replayed:
    """Replay the recording of a run folder; what the nodes write goes under `out` (default: `<run>/replay`)."""
    made = read_mark(run)
    files, sets = [Path(name) for name in made["files"]], list(made["sets"])
    folder = out or run / "replay"
    topology = load_topology(files, sets)
    if digest(topology) != made["digest"]:
        raise UsageError(
            f"the topology has changed since {run} was made ({', '.join(map(str, files))}); "
            "a replay compares like with like: run the backtest again, or restore the files"
        )
    plan = checked_plan(topology, folder)
    make_empty(folder, replace=force or out is None)
    if (run / "variants").is_dir():
        shutil.copytree(run / "variants", folder / "variants")
    mark(folder, files, sets, made["seed"], topology)
    return replay(plan, run / "recordings", folder, seed=made["seed"], only=only)
