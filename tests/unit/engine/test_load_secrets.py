"""Secrets: found in the declared order, filled in at start, shown nowhere."""

# ruff: noqa: E501  a refusal and its exact text stand on one line

import traceback

import pytest
import yaml
from support.loading import Project

from engine.errors import TopologyError
from engine.topology.load import resolve_secrets
from engine.topology.model import Secret
from engine.topology.values import SecretMissing, find_secret

CANARY = "canary-5f1e"


@pytest.fixture
def topology(tmp_path):
    project = Project(tmp_path)
    project.write(
        "t.yaml",
        "topology: t\nparams: {key: {type: str, default: '${secret:KEY}'}}\nnodes:\n"
        "  n: {use: a.b, params: {key: '${key}', url: 'wss://x/${secret:KEY}/ws', many: {a: ['${secret:B}', c]}, x: 1}}\n",
    )
    return project.load()


def test_resolved_values(topology):
    values = {"KEY": CANARY, "B": "b-secret"}
    params = resolve_secrets(topology, values.__getitem__).nodes["n"].params
    assert params["key"].value == CANARY
    assert params["url"].value == f"wss://x/{CANARY}/ws"
    assert params["many"].value == {"a": ["b-secret", "c"]}
    assert params["x"].value == 1
    assert isinstance(params["url"].value, Secret)


def test_nothing_shows_a_secret(topology):
    resolved = resolve_secrets(topology, lambda name: CANARY)
    assert CANARY not in repr(resolved)
    assert CANARY not in repr(topology) + str(topology.nodes["n"].params["url"].value)
    assert CANARY not in str({"key": resolved.nodes["n"].params["key"].value})
    with pytest.raises(yaml.YAMLError):
        yaml.safe_dump(resolved.nodes["n"].params["key"].value)


def test_all_that_are_missing_are_named_with_their_places(topology):
    with pytest.raises(TopologyError) as caught:
        resolve_secrets(topology, {"B": CANARY}.__getitem__)
    (problem,) = caught.value.problems
    assert (problem.code, problem.message) == ("secret-missing", "secret KEY is not set")
    assert problem.place is not None
    assert problem.place.line == 2
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_lookup_order(tmp_path):
    credentials, own = tmp_path / "credentials", tmp_path / ".secrets"
    for folder in (credentials, own):
        folder.mkdir()
        (folder / "KEY").write_text(f"{folder.name}\n")
        (folder / "KEY").chmod(0o600)
    env = {"CREDENTIALS_DIRECTORY": str(credentials), "PIPELINE_SECRET_KEY": "env"}
    assert find_secret("KEY", env, own) == "env"
    del env["PIPELINE_SECRET_KEY"]
    assert find_secret("KEY", env, own) == "credentials"
    assert find_secret("KEY", {}, own) == ".secrets"
    assert repr(find_secret("KEY", {}, own)) == "***"


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "KEY"
    with pytest.raises(
        SecretMissing, match=r"secret KEY is not set; looked for \$PIPELINE_SECRET_KEY, /run/secrets/KEY"
    ):
        find_secret("KEY", {}, tmp_path)
    path.write_text(CANARY)
    path.chmod(0o644)
    with pytest.raises(SecretMissing, match=r"can be read by others \(mode 644\); chmod 600 it") as caught:
        find_secret("KEY", {}, tmp_path)
    assert CANARY not in str(caught.value)
    path.chmod(0o600)
    path.write_bytes(b"\xff")
    with pytest.raises(SecretMissing, match="is not UTF-8 text"):
        find_secret("KEY", {}, tmp_path)
    path.write_bytes(b"x" * 70_000)
    with pytest.raises(SecretMissing, match="is larger than 64 KiB"):
        find_secret("KEY", {}, tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SecretMissing):
        find_secret("KEY", {}, tmp_path)
