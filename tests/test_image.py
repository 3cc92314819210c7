"""The container image's steps and compose's commands, run natively: no container engine is needed, or tested."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes.notices import dsn
from worker import config

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


def test_nothing_is_installed_but_by_its_hash():
    def pins(name: str) -> dict[str, list[str]]:
        lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
        return {words[0]: words[1:] for words in map(str.split, lines)}

    image, tests = pins("constraints.txt"), pins("tests/constraints.txt")
    assert image.items() <= tests.items(), "what is tested is what is deployed: make pins"
    for pin, hashes in tests.items():
        assert "==" in pin
        assert hashes
        assert all(each.startswith("--hash=sha256:") for each in hashes), pin
    installs = [arguments for instruction, arguments in dockerfile_steps(0) if "pip install" in arguments]
    assert all("--require-hashes -r constraints.txt" in each or "--no-deps" in each for each in installs)


COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "bounce-worker"]


def test_the_image_is_not_root_and_says_whether_it_lives():
    steps = dockerfile_steps(1)
    assert ("ENTRYPOINT", '["bounce-worker"]') in steps
    assert ("USER", "10001:10001") in steps
    assert not [step for step in steps if step[0] == "ADD" or (step[0] == "COPY" and "--from=build" not in step[1])]
    (health,) = (arguments for instruction, arguments in steps if instruction == "HEALTHCHECK")
    assert '["bounce-worker", "alive", "run"]' in health


@pytest.mark.parametrize("name", OURS)
def test_what_compose_runs_and_asks_is_a_command_of_ours(name: str):
    check = SERVICES[name]["healthcheck"]["test"]
    assert check == ["CMD", "bounce-worker", "alive", SERVICES[name]["command"][0]]
    for words in (SERVICES[name]["command"], check[2:]):
        command = [sys.executable, "-m", "worker.cli", *words, "--help"]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_more_rights_than_it_needs(name: str):
    service = SERVICES[name]
    assert service["user"] not in ("root", "0", "0:0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "healthcheck", "tmpfs", "logging"} <= service.keys()
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_by_file(name: str):
    environment = SERVICES[name].get("environment", {})
    for variable in (*config.SECRET, "POSTGRES_PASSWORD"):
        assert variable not in environment or variable in ("REDIS_URL", "BOUNCE_WORKER_CRM_BROKER")
    files = {str(value).removeprefix("/run/secrets/") for key, value in environment.items() if key.endswith("_FILE")}
    assert files == set(SERVICES[name].get("secrets", []))
    assert files <= COMPOSE["secrets"].keys()


def test_every_variable_of_compose_is_one_that_is_read():
    known = {*config.VARIABLES, *(f"{name}_FILE" for name in config.SECRET), "OTEL_EXPORTER_OTLP_ENDPOINT"}
    for name in OURS:
        assert SERVICES[name]["environment"].keys() <= known


def test_a_worker_has_longer_to_end_than_it_gives_its_tasks():
    from typer.main import get_command

    from worker.cli import app

    (grace,) = (each.default for each in get_command(app).commands["worker"].params if each.name == "grace")
    assert int(SERVICES["worker"]["stop_grace_period"].rstrip("s")) >= grace + 20


def test_redis_keeps_what_is_queued():
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
