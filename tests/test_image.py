"""The container image's steps and compose's commands, run natively: no container engine is needed, or tested."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes.notices import dsn

ROOT = Path(__file__).resolve().parents[1]


def dockerfile_steps(stage: int) -> list[tuple[str, str]]:
    """Return (instruction, arguments) of a build stage."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    starts = [number for number, step in enumerate(steps) if step[0] == "FROM"] + [len(steps)]
    return [(step[0], step[1]) for step in steps[starts[stage] + 1 : starts[stage + 1]]]


@pytest.mark.timeout(600)
def test_the_images_build_stage_makes_a_command_that_works(tmp_path: Path):
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for instruction, arguments in dockerfile_steps(0):
        if instruction == "COPY":
            *names, _ = arguments.split()
            for name in names:
                origin = ROOT / name
                copy = shutil.copytree if origin.is_dir() else shutil.copy
                copy(origin, source / name)
        elif instruction == "RUN":
            step = arguments.replace("/opt/bounce-worker", str(target)).replace(
                "python -m venv", f"{sys.executable} -m venv"
            )
            done = subprocess.run(step, shell=True, cwd=source, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    notice = tmp_path / "notice.eml"
    notice.write_bytes(dsn())
    command = target / "bin" / "bounce-worker"
    done = subprocess.run(
        [command, "explain", "--json", notice], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert (answer["kind"], answer["recipients"][0]["reason"]) == ("bounce", "unknown_user")
    scanned = subprocess.run(
        [command, "scan", "--json", notice],
        env={"PATH": "/usr/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(scanned.stdout)["would"] == "wait for its send"
    listed = subprocess.run(
        [command, "inbox", "list"], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert "No inbox is connected yet" in listed.stdout, "the migrations travel with the package"


def test_the_image_runs_what_compose_says_and_not_as_root():
    steps = dockerfile_steps(1)
    assert ("ENTRYPOINT", '["bounce-worker"]') in steps
    assert ("USER", "bounce") in steps
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name in ("worker", "scheduler"):
        command = [sys.executable, "-m", "worker.cli", *services[name]["command"], "--help"]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
        assert services[name]["restart"] == "unless-stopped"
    assert "noeviction" in services["redis"]["command"]
