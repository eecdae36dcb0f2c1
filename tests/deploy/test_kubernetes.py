"""The manifests: kustomize renders them, Kubernetes' schemas take them, and no pod may do more than it must."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakeredis import FakeRedis, FakeServer
from published import Generation, put_posts
from tools import DEPLOY, run

from batch.settings import BatchSettings
from server.app import create_app
from server.settings import ServerSettings

FOLDER = DEPLOY / "kubernetes"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `kubectl apply -k` would send."""
    file = tmp_path_factory.mktemp("kubernetes") / "all.yaml"
    file.write_text(run("kubectl", "kustomize", FOLDER))
    return file


@pytest.fixture(scope="module")
def objects(rendered: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(rendered.read_text()))


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [found for found in objects if found["kind"] in kinds]


def pods_of(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pod template of each workload by its name."""
    pods = {found["metadata"]["name"]: found["spec"]["template"] for found in of_kind(objects, "Deployment")}
    for job in of_kind(objects, "CronJob"):
        pods[job["metadata"]["name"]] = job["spec"]["jobTemplate"]["spec"]["template"]
    return pods


def test_what_is_rendered_keeps_to_the_schemas_of_kubernetes(rendered: Path) -> None:
    run("kubernetes-validate", "--strict", "--quiet", rendered)
    run(
        "kubernetes-validate", "--strict", "--quiet", FOLDER / "optional/autoscale.yaml", FOLDER / "secret.example.yaml"
    )


def test_the_parts_are_there(objects: list[dict[str, Any]]) -> None:
    names = sorted((found["kind"], found["metadata"]["name"].split("-")[0]) for found in objects)
    assert names == [
        ("ConfigMap", "hourfeed"),
        ("CronJob", "nightly"),
        ("CronJob", "refresh"),
        ("Deployment", "drain"),
        ("Deployment", "web"),
        ("Namespace", "hourfeed"),
        *[("NetworkPolicy", name) for name in ("nothing", "services", "web")],
        ("PersistentVolumeClaim", "state"),
        ("PodDisruptionBudget", "web"),
        ("Service", "web"),
    ]


def test_no_pod_may_do_more_than_it_must(objects: list[dict[str, Any]]) -> None:
    pods = pods_of(objects)
    assert pods.keys() == {"web", "drain", "refresh", "nightly"}
    for name, pod in pods.items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name  # HOURFEED_PORT=tcp://… would be a setting
        (container,) = spec["containers"]
        shut_in = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == shut_in, name
        assert container["resources"]["limits"]["memory"], name
        assert not container["image"].endswith(":latest"), name
        assert ":" in container["image"], name
        written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert written == {"/var/lib/hourfeed", "/tmp"}, name


def test_selectors_find_the_pods_that_they_mean(objects: list[dict[str, Any]]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods_of(objects).items()}

    def chosen(selector: dict[str, str]) -> set[str]:
        return {name for name, held in labels.items() if selector.items() <= held.items()}

    (service,) = of_kind(objects, "Service")
    assert chosen(service["spec"]["selector"]) == {"web"}
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert chosen(budget["spec"]["selector"]["matchLabels"]) == {"web"}
    for deployment in of_kind(objects, "Deployment"):
        assert chosen(deployment["spec"]["selector"]["matchLabels"]) == {deployment["metadata"]["name"]}
        assert (
            deployment["spec"]["template"]["metadata"]["labels"].items()
            >= deployment["spec"]["selector"]["matchLabels"].items()
        )
    policies = {found["metadata"]["name"]: found["spec"] for found in of_kind(objects, "NetworkPolicy")}
    assert chosen(policies["nothing"]["podSelector"].get("matchLabels", {})) == labels.keys()
    assert chosen(policies["web"]["podSelector"]["matchLabels"]) == {"web"}


def test_probes_tell_a_server_with_feeds_from_one_without(objects: list[dict[str, Any]], server: FakeServer) -> None:
    (container,) = pods_of(objects)["web"]["spec"]["containers"]
    alive, ready = (container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe"))
    redis = FakeRedis(server=server)
    client = create_app(ServerSettings(warm_file=""), redis).test_client()
    assert (client.get(alive).status_code, client.get(ready).status_code) == (200, 503)
    Generation(users={"7": {12: "1"}}, popular={12: "1"}).publish(redis)
    put_posts(redis, "1")
    assert client.get(ready).status_code == 200
    server.connected = False
    assert (client.get(alive).status_code, client.get(ready).status_code) == (200, 200)  # it has popular feeds


def test_runs_of_a_job_never_overlap_and_end_at_last(objects: list[dict[str, Any]]) -> None:
    jobs = of_kind(objects, "CronJob")
    assert len(jobs) == 2
    for job in jobs:
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        assert job["spec"]["startingDeadlineSeconds"] > 0
        assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0
        assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_no_secret_stands_in_the_folder(objects: list[dict[str, Any]]) -> None:
    assert of_kind(objects, "Secret") == []
    example = yaml.safe_load((FOLDER / "secret.example.yaml").read_text())
    assert not any(example["stringData"].values())


def test_the_settings_of_the_pods_are_settings(
    objects: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shown,) = of_kind(objects, "ConfigMap")
    (tmp_path / "hourfeed.toml").write_text(shown["data"]["hourfeed.toml"])
    monkeypatch.chdir(tmp_path)
    BatchSettings()  # which refuses a name that neither knows
    server = ServerSettings()
    for name, value in tomllib.loads(shown["data"]["hourfeed.toml"]).items():
        assert getattr(server, name) == value
    mounted = pods_of(objects)["web"]["spec"]["volumes"]
    assert {"name": "settings", "configMap": {"name": shown["metadata"]["name"]}} in [
        {"name": volume["name"], "configMap": {"name": volume.get("configMap", {}).get("name")}} for volume in mounted
    ]
