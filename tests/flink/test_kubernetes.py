"""The manifests against the schemas of Kubernetes and of the Flink operator, strictly: what is misspelt is no field."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml

from common.config import load_settings
from flink.cluster import ClusterSettings, configuration
from flink.job import Documents
from flink.rest import ENTRY_CLASS
from pipelines.elasticsearch_sinks import WriteAggregateDocuments

FOLDER: Final = Path(__file__).parents[2] / "flink" / "kubernetes"
DEFINITION: Final = Path(__file__).with_name("crd") / "flinkdeployments.flink.apache.org-v1.yml.gz"
VERSION: Final = "1.34"
Manifest = dict[str, Any]


def manifests() -> Iterator[tuple[str, Manifest]]:
    for file in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            yield f"{file.name} {document['kind']} {document['metadata']['name']}", document


NAMED: Final = dict(manifests())


def strict(schema: Any) -> Any:
    """The same schema where an object has the fields that it names and no others."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        made["additionalProperties"] = False
    return made


@pytest.fixture(scope="module")
def flink_deployment() -> jsonschema.Draft202012Validator:
    """A checker of FlinkDeployments. The definition says `x-kubernetes-int-or-string` beside anyOf, as Kubernetes has it."""
    definition = yaml.load(gzip.decompress(DEFINITION.read_bytes()), Loader=yaml.CSafeLoader)
    schema = strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {"const": "flink.apache.org/v1beta1"}, "kind": {"const": "FlinkDeployment"}}
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def faults(manifest: Manifest, flink_deployment: jsonschema.Draft202012Validator) -> list[str]:
    if manifest["kind"] == "FlinkDeployment":
        return [f"{error.json_path}: {error.message}" for error in flink_deployment.iter_errors(manifest)]
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


@pytest.mark.parametrize("name", NAMED)
def test_a_manifest_has_known_fields_of_the_right_kinds_only(name: str, flink_deployment: jsonschema.Draft202012Validator) -> None:
    assert faults(NAMED[name], flink_deployment) == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("pipeline.yaml FlinkDeployment nephrite-pipeline", ("spec", "taskManagers")),
        ("pipeline.yaml FlinkDeployment nephrite-pipeline", ("spec", "podTemplate", "spec", "volume")),
        ("ingest.yaml StatefulSet nephrite-ingest", ("spec", "template", "spec", "container")),
        ("serve.yaml Service nephrite-serve", ("spec", "externaltrafficpolicy")),
    ],
)
def test_a_misspelt_field_is_found(name: str, path: tuple[str, ...], flink_deployment: jsonschema.Draft202012Validator) -> None:
    damaged = yaml.safe_load(yaml.safe_dump(NAMED[name]))
    place = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "x"
    assert faults(damaged, flink_deployment) != []


def test_what_manifests_refer_to_is_there() -> None:
    """Config maps, secrets, claims and their keys, by name."""
    there: dict[tuple[str, str], Any] = {
        (m["kind"], m["metadata"]["name"]): m.get("data", m.get("stringData", {})) for m in NAMED.values()
    }
    text = "\n".join(yaml.safe_dump(manifest) for manifest in NAMED.values())
    referred = {
        *(("ConfigMap", name) for name in re.findall(r"configMap:\s+name: (\S+)", text)),
        *(("Secret", name) for name in re.findall(r"secretName: (\S+)", text)),
        *(("PersistentVolumeClaim", name) for name in re.findall(r"claimName: (\S+)", text)),
        *(("Service", name) for name in re.findall(r"serviceName: (\S+)", text)),
    }
    assert len(referred) == 5
    assert referred - there.keys() == set()
    for kind, reference in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        keys = re.findall(rf"{reference}:\s+key: (\S+)\s+name: (\S+)", text)
        assert keys
        assert [(key, name) for key, name in keys if key not in there[kind, name]] == []


def test_the_settings_are_settings_and_the_documents_a_place(tmp_path: Path) -> None:
    data = NAMED["settings.yaml ConfigMap nephrite-settings"]["data"]
    (tmp_path / "settings.yaml").write_text(data["settings.yaml"], encoding="utf-8")
    settings = load_settings(tmp_path / "settings.yaml", {})
    assert settings.bus.url.startswith("kafka://")
    assert isinstance(Documents(data["documents"]).sink(), WriteAggregateDocuments)
    secret = re.findall(r"api_key_file=/etc/nephrite/secrets/([^&]+)", data["documents"])
    assert set(secret) <= NAMED["secrets.yaml Secret nephrite-secrets"]["stringData"].keys()


def test_the_job_runs_as_on_a_cluster_of_our_own() -> None:
    """Pinned where the two have to agree: what restarts, what a subtask gets, what the jar's main class is."""
    spec = NAMED["pipeline.yaml FlinkDeployment nephrite-pipeline"]["spec"]
    ours = configuration(ClusterSettings(), Path("/x"), "1.20.0")
    theirs = spec["flinkConfiguration"]
    alike = [
        key for key in ours if key.startswith(("restart-strategy", "classloader", "taskmanager.memory.managed", "taskmanager.num"))
    ]
    assert len(alike) >= 6
    assert {key: theirs.get(key) for key in alike} == {key: ours[key] for key in alike}
    opened = theirs["env.java.opts.all"].split()
    assert set(opened) == set(ours["env.java.opts"].split())
    assert spec["job"]["entryClass"] == ENTRY_CLASS
