"""`pipeline test`: run the tests that lie beside topologies."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("-k", "word", default="", help="Only tests whose name contains this.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcomes as JSON.")
def command(paths: tuple[Path, ...], word: str, as_json: bool) -> int:
    """Run `*.test.yaml` files: messages in, messages out, virtual time.

    PATHS are files or folders; without any, topologies/. Exit code 1 when a test fails, 2 when there is none.

    \b
    Examples:
      pipeline test
      pipeline test topologies/backtest/asymmetric_lp.test.yaml -k once

    A test file:

    \b
      topology: weather.yaml
      tests:
        an alarm sounds a second after it is too hot:
          nodes: [siren]
          steps:
            - at: 1s
              send: {sensor.reading: {celsius: 31}}
            - at: 2s
              expect: {siren.alarm: {level: 1}}
    """
    import json

    from engine.errors import UsageError
    from engine.run.scenario import run_tests
    from engine.topology.render_problems import render

    files = [found for path in (paths or (Path("topologies"),)) for found in _test_files(path)]
    outcomes = [outcome for file in files for outcome in run_tests(file, word)]
    if not outcomes:
        if word and files:
            raise UsageError(f"no test has {word!r} in its name")
        raise UsageError("no test found: a test file is called NAME.test.yaml and lies beside NAME.yaml")
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        shown = [
            {"file": o.file, "name": o.name, "passed": o.passed, "problems": [p.as_dict() for p in o.problems]}
            for o in outcomes
        ]
        click.echo(json.dumps(shown, indent=1))
        return 1 if failed else 0
    for outcome in outcomes:
        click.echo(f"{'ok    ' if outcome.passed else 'FAILED'} {outcome.file}: {outcome.name}")
        if not outcome.passed:
            click.echo(render(outcome.problems))
    click.echo(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _test_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.test.yaml"))
