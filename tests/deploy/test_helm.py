"""The chart: what Helm renders is valid, restricted, and what our programs understand."""

import ipaddress
import json
import re

import helm_python as helm
import pytest
import typer
import yaml

from teststrip.cli.main import app
from teststrip.environment import read
from teststrip.serve.config import ServiceConfig
from teststrip.serve.environment import read_config
from teststrip.serve.queue.rabbit_topology import Topology
from teststrip.track.server.config import SECRETS, ServerConfig

pytestmark = pytest.mark.deploy
FILES = ["", "values-laptop.yaml", "values-gke.yaml", "values-eks.yaml"]
FOREIGN = ("keda.sh/", "monitoring.coreos.com/")  # kinds that the cluster learns from operators
OLDEST = "1.30"
# What stands in Secrets: one value of each that the program must accept.
SECRET = {
    "TESTSTRIP_SERVICE_BROKER": "amqp://user:password@rabbitmq:5672/",
    "TESTSTRIP_SERVICE_REDIS": "redis://:password@redis:6379/0",
    "TESTSTRIP_SERVICE_SECRET": "x" * 32,
    "TESTSTRIP_TRACK_BACKEND": "postgresql://user:password@postgres/mlflow",
    "TESTSTRIP_TRACK_LOGIN_BACKEND": "postgresql://user:password@postgres/mlflow_login",
    "TESTSTRIP_TRACK_ADMIN_PASSWORD": "x" * 16,
    "TESTSTRIP_TRACK_SECRET_KEY": "x" * 32,
    "TESTSTRIP_STUDIO_PASSWORD": "x" * 16,
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "MLFLOW_TRACKING_USERNAME": "x",
    "MLFLOW_TRACKING_PASSWORD": "x",
}


@pytest.fixture(params=FILES, ids=lambda name: name or "defaults")
def manifests(request, rendered):
    return rendered(file=request.param)


def of_kind(manifests, *kinds):
    return [part for part in manifests if part["kind"] in kinds]


def pods(manifests):
    """(name, labels, spec) of every pod that the manifests ask for."""
    found = []
    for part in of_kind(manifests, "Deployment", "Job", "ScaledJob"):
        spec = part["spec"]
        template = spec["jobTargetRef"]["template"] if "jobTargetRef" in spec else spec["template"]
        found.append((part["metadata"]["name"], template["metadata"]["labels"], template["spec"]))
    assert found
    return found


def pod_of(manifests, name):
    (spec,) = [spec for found, _, spec in pods(manifests) if found == name]
    return spec


def environment(container):
    return {
        var["name"]: var["value"] if "value" in var else SECRET[var["name"]]
        for var in container["env"]
    }


def selects(selector, labels):
    return selector["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("file", FILES)
def test_helm_finds_nothing_to_say(deploy, file):
    values = yaml.safe_load((deploy / "helm" / file).read_text()) if file else {}

    report = helm.lint(deploy / "helm" / "teststrip", values, strict=True)

    told = [m["error"] for m in report["messages"]]
    assert told == ["icon is recommended"]  # it is of severity "info"
    assert not report["errors"]


@pytest.mark.parametrize("version", ["", OLDEST])
def test_kubernetes_knows_every_field(manifests, version, tool, tmp_path, deploy):
    own = [part for part in manifests if not part["apiVersion"].startswith(FOREIGN)]
    assert len(own) > 8
    files = [tmp_path / f"{n}.json" for n in range(len(own))]
    for file, part in zip(files, own, strict=True):
        file.write_text(json.dumps(part))

    tool("kubernetes-validate", *(["-k", version] if version else []), "--strict", *files)

    chart = yaml.safe_load((deploy / "helm" / "teststrip" / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"


def test_kubernetes_refuses_a_field_that_it_does_not_know(manifests, tool, tmp_path):
    (first, *_) = of_kind(manifests, "Deployment", "Service")
    first["spec"]["replicaz"] = 2
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(first))

    assert "replicaz" in str(tool("kubernetes-validate", "--strict", file, rc=1))


def test_every_pod_is_restricted(manifests):
    for name, _, spec in pods(manifests):
        assert spec["automountServiceAccountToken"] is False, name
        outer = spec["securityContext"]
        assert outer["runAsNonRoot"] is True
        assert (outer["runAsUser"], outer["fsGroup"]) == (10001, 10001)
        assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret", "persistentVolumeClaim"}
        for container in spec["containers"]:
            inner = container["securityContext"]
            assert inner["allowPrivilegeEscalation"] is False
            assert inner["readOnlyRootFilesystem"] is True
            assert inner["capabilities"] == {"drop": ["ALL"]}
            mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {"/data", "/tmp"} <= mounted, "all else is read-only"
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]


def test_no_service_of_the_cluster_becomes_a_setting(manifests):
    """A Service named teststrip-track would set TESTSTRIP_TRACK_PORT: an unknown setting."""
    services = {part["metadata"]["name"] for part in of_kind(manifests, "Service")}

    assert any(name.startswith("teststrip-") for name in services)
    assert all(spec["enableServiceLinks"] is False for _, _, spec in pods(manifests))


def test_the_programs_read_their_environment(manifests):
    asked = set()
    for name, _, spec in pods(manifests):
        (container,) = spec["containers"]
        given = environment(container)
        assert len(given) == len(container["env"]), f"{name}: a variable twice"
        config = read_config(given)
        server = read(ServerConfig, "the tracking server", files=SECRETS, environ=given)
        asked.add(container["name"])
        if container["name"] in ("web", "worker"):
            assert config.kind == "apart"
            assert config.store.startswith("s3://")
        if container["name"] == "web":
            assert config.secret is not None
            folder = str(config.keys_file.parent)
            assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}
        if container["name"] == "worker":
            assert config.secret is None, "it signs nothing"
            assert config.metrics_port == container["ports"][0]["containerPort"]
            # It drains, and as long again where pictures wait for a store that is away.
            assert spec["terminationGracePeriodSeconds"] > 2 * config.drain_s
        if container["name"] == "track":
            assert (server.login, server.migrate) == ("on", False)
            assert server.artifacts
            assert {"teststrip-track", "teststrip-track.pictures.svc"} <= set(server.allow_hosts)
    assert {"web", "worker"} <= asked


def test_a_value_that_is_a_number_is_written_as_people_do(rendered):
    made = rendered({"service": {"settings": {"MAX_PIXELS": 4194304, "URL_TTL_S": 1.5}}})
    given = environment(pod_of(made, "teststrip-web")["containers"][0])

    assert given["TESTSTRIP_SERVICE_MAX_PIXELS"] == "4194304"
    assert given["TESTSTRIP_SERVICE_URL_TTL_S"] == "1.5"


def test_the_commands_exist_with_their_flags(manifests):
    for name, _, spec in pods(manifests):
        (container,) = spec["containers"]
        assert container["command"] == ["teststrip"]
        command, args = typer.main.get_command(app), list(container["args"])
        context = command.make_context("teststrip", list(args))
        while hasattr(command, "commands"):
            word = args.pop(0)
            assert word in command.commands, f"{name}: no {word} in {container['args']}"
            command = command.commands[word]
            context = command.make_context(word, list(args), parent=context)
        if "host" in context.params:
            assert context.params["host"] == "0.0.0.0"
            assert context.params["port"] == container["ports"][0]["containerPort"]


def test_what_listens_is_probed(manifests):
    for name, _, spec in pods(manifests):
        (container,) = spec["containers"]
        ports = {port["name"] for port in container.get("ports", [])}
        probes = {kind: container[kind]["httpGet"] for kind in container if kind.endswith("Probe")}
        assert bool(ports) == bool(probes), name
        assert {probe["port"] for probe in probes.values()} <= ports
        if "livenessProbe" in probes:
            assert "/readyz" not in probes["livenessProbe"]["path"], "others' ends are not its own"


def test_all_secrets_come_by_name_and_the_notes_tell_them(deploy, rendered):
    for file in FILES:
        made = rendered(file=file)
        assert of_kind(made, "Secret", "ConfigMap") == []
        names = set()
        for name, _, spec in pods(made):
            (container,) = spec["containers"]
            for var in container["env"]:
                is_secret = var["name"] in SECRET
                assert is_secret == ("valueFrom" in var), f"{name}: {var}"
            names |= {
                v["valueFrom"]["secretKeyRef"]["name"] for v in container["env"] if "valueFrom" in v
            }
            names |= {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
        for trigger in of_kind(made, "TriggerAuthentication"):
            names |= {ref["name"] for ref in trigger["spec"]["secretTargetRef"]}
        values = yaml.safe_load((deploy / "helm" / file).read_text()) if file else {}
        with helm.Chart.load(deploy / "helm" / "teststrip") as chart:
            notes = chart.render(values, name="teststrip")["teststrip/templates/NOTES.txt"]
        assert names == set(re.findall(r"^  ([a-z][a-z-]+): [A-Za-z]", notes, re.MULTILINE))


def test_what_names_a_thing_finds_it(manifests):
    templates = pods(manifests)
    ports = {
        name: {p["name"]: p["containerPort"] for p in spec["containers"][0].get("ports", [])}
        for name, _, spec in templates
    }
    services = {part["metadata"]["name"]: part["spec"] for part in of_kind(manifests, "Service")}
    for name, service in services.items():
        found = [
            pod for pod, labels, _ in templates if service["selector"].items() <= labels.items()
        ]
        assert found == [name], "one kind of pod behind a Service"
        assert service["ports"][0]["targetPort"] in ports[name]
    for part in of_kind(manifests, "Deployment"):
        assert selects(part["spec"]["selector"], part["spec"]["template"]["metadata"]["labels"])
    for part in of_kind(manifests, "PodDisruptionBudget", "PodMonitor"):
        found = [pod for pod, labels, _ in templates if selects(part["spec"]["selector"], labels)]
        assert found == [part["metadata"]["name"]]
        for end in part["spec"].get("podMetricsEndpoints", []):
            assert end["port"] in ports[found[0]]
    deployments = {part["metadata"]["name"] for part in of_kind(manifests, "Deployment")}
    for part in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        assert part["spec"]["scaleTargetRef"]["name"] in deployments
    accounts = {part["metadata"]["name"] for part in of_kind(manifests, "ServiceAccount")}
    assert {spec["serviceAccountName"] for _, _, spec in templates} == accounts
    for part in of_kind(manifests, "ServiceAccount"):
        assert part["automountServiceAccountToken"] is False
    for part in of_kind(manifests, "Ingress"):
        (rule,) = part["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        backend = path["backend"]["service"]
        assert backend["port"]["name"] in {p["name"] for p in services[backend["name"]]["ports"]}


def test_who_scales_is_one(manifests):
    scaled = {
        part["spec"]["scaleTargetRef"]["name"]
        for part in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    }
    for part in of_kind(manifests, "Deployment"):
        assert ("replicas" in part["spec"]) != (part["metadata"]["name"] in scaled)


def test_the_outside_comes_in_by_tls_alone(rendered):
    for file in ("values-gke.yaml", "values-eks.yaml"):
        found = of_kind(rendered(file=file), "Ingress")
        assert found
        for part in found:
            (tls,) = part["spec"]["tls"]
            assert tls["secretName"]
            assert tls["hosts"] == [rule["host"] for rule in part["spec"]["rules"]]
    for file in FILES:
        for part in of_kind(rendered(file=file), "Service"):
            assert part["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_nothing_is_open_on_the_network_but_what_is_named(manifests):
    policies = of_kind(manifests, "NetworkPolicy")
    (deny,) = [p["spec"] for p in policies if p["metadata"]["name"].endswith("-deny")]
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    assert not {"ingress", "egress"} & deny.keys()
    for name, labels, spec in pods(manifests):
        assert selects(deny["podSelector"], labels)
        (own,) = [
            p["spec"]
            for p in policies
            if p["spec"] is not deny and selects(p["spec"]["podSelector"], labels)
        ]
        ports = [p["containerPort"] for p in spec["containers"][0].get("ports", [])]
        for rule in own.get("ingress", []):
            assert rule["from"], "an empty list lets everybody in"
            assert [p["port"] for p in rule["ports"]] == ports, name
        for rule in own["egress"]:
            assert rule["to"], "an empty list lets everything out"
            assert rule["ports"]


def test_by_default_no_pod_reaches_the_metadata_server(rendered):
    blocks = [
        peer["ipBlock"]
        for part in of_kind(rendered(file=""), "NetworkPolicy")
        for rule in part["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert blocks
    for block in blocks:
        taken_out = [ipaddress.ip_network(net) for net in block.get("except", [])]
        assert any(ipaddress.ip_address("169.254.169.254") in net for net in taken_out)


@pytest.mark.parametrize("kind", ["object", "job"])
@pytest.mark.parametrize("namespace", ["teststrip", "blue"])
def test_the_autoscaler_counts_exactly_our_lanes(rendered, kind, namespace):
    made = rendered(
        {"worker": {"scaling": {"kind": kind}}, "service": {"settings": {"NAMESPACE": namespace}}}
    )
    (scaled,) = of_kind(made, "ScaledObject", "ScaledJob")
    (trigger,) = scaled["spec"]["triggers"]
    pattern = re.compile(trigger["metadata"]["queueName"])

    named = Topology(namespace, (2, 10, 60), max_length=1, delivery_limit=1)
    assert all(pattern.search(named.queue(place)) for place in named.places)
    for other in (named.dead, named.kept, named.bells, named.retry(2)):
        assert not pattern.search(other)


# What KEDA's own definitions say of the fields that are used here (keda.sh, 2.15 and newer).
NUMBER = {"type": "integer", "minimum": 0}
TRIGGERS = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", "metadata"],
        "properties": {
            "type": {"const": "rabbitmq"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "authenticationRef": {"type": "object", "required": ["name"]},
        },
    },
}
KEDA = {
    "TriggerAuthentication": {
        "secretTargetRef": {
            "type": "array",
            "items": {"required": ["parameter", "name", "key"], "maxProperties": 3},
        }
    },
    "ScaledObject": {
        "scaleTargetRef": {"required": ["name"]},
        "minReplicaCount": NUMBER,
        "maxReplicaCount": NUMBER,
        "pollingInterval": NUMBER,
        "cooldownPeriod": NUMBER,
        "advanced": {"type": "object"},
        "triggers": TRIGGERS,
    },
    "ScaledJob": {
        "jobTargetRef": {"required": ["template"]},
        "minReplicaCount": NUMBER,
        "maxReplicaCount": NUMBER,
        "pollingInterval": NUMBER,
        "successfulJobsHistoryLimit": NUMBER,
        "failedJobsHistoryLimit": NUMBER,
        "rollout": {"properties": {"strategy": {"enum": ["default", "gradual"]}}},
        "scalingStrategy": {
            "properties": {"strategy": {"enum": ["default", "custom", "accurate", "eager"]}}
        },
        "triggers": TRIGGERS,
    },
}


@pytest.mark.parametrize("kind", ["object", "job"])
def test_keda_knows_every_field(rendered, kind, tool, tmp_path):
    made = rendered({"worker": {"scaling": {"kind": kind}}})
    keda = [part for part in made if part["apiVersion"] == "keda.sh/v1alpha1"]
    assert len(keda) == 2
    for part in keda:
        schema = {"type": "object", "additionalProperties": False, "properties": KEDA[part["kind"]]}
        (tmp_path / "schema.json").write_text(json.dumps(schema))
        (tmp_path / "spec.json").write_text(json.dumps(part["spec"]))
        tool("check-jsonschema", "--schemafile", tmp_path / "schema.json", tmp_path / "spec.json")


def test_a_job_of_keda_is_a_job_of_kubernetes(rendered, tool, tmp_path):
    made = rendered({"worker": {"scaling": {"kind": "job"}}})
    (scaled,) = of_kind(made, "ScaledJob")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job | {"spec": scaled["spec"]["jobTargetRef"]}))

    tool("kubernetes-validate", "--strict", file)

    (container,) = scaled["spec"]["jobTargetRef"]["template"]["spec"]["containers"]
    assert read_config(environment(container)).idle_exit_s > 0, "else it would never end"
    assert of_kind(made, "Deployment")[0]["metadata"]["name"] == "teststrip-web"


def test_a_worker_has_its_gpu_to_itself(rendered):
    spec = pod_of(rendered(), "teststrip-worker")
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert (
        pod_of(rendered(file="values-eks.yaml"), "teststrip-worker")["runtimeClassName"] == "nvidia"
    )

    cpu = pod_of(rendered(file="values-laptop.yaml"), "teststrip-worker")
    assert cpu["containers"][0]["resources"]["limits"] == {"memory": "4Gi"}
    assert not {"nodeSelector", "tolerations"} & cpu.keys()
    assert cpu["containers"][0]["image"] == "teststrip-worker:0.1.0-cpu"


def test_images_are_pinned(rendered):
    digest = "sha256:" + "0" * 64
    image = {"name": "teststrip-web", "digest": digest}
    made = rendered(
        {"image": {"registry": "r.example.org/x/", "tag": "1.2"}, "web": {"image": image}}
    )

    found = pod_of(made, "teststrip-web")["containers"][0]["image"]
    assert found == f"r.example.org/x/teststrip-web:1.2@{digest}"


WRONG = {
    "an unknown value": {"wrker": {}},
    "an unknown setting": {"service": {"settings": {"MAX_STEP": "4"}}},
    "a setting that a Secret holds": {"service": {"settings": {"BROKER": "amqp://a:b@c/"}}},
    "a secret among variables": {"web": {"env": {"AWS_SECRET_ACCESS_KEY": "x"}}},
    "a password in an address": {"mlflow": {"uri": "https://user:password@mlflow.example.org"}},
    "the newest image, whichever that is": {"image": {"tag": "latest"}},
    "a digest that is none": {"web": {"image": {"name": "x", "digest": "sha256:1"}}},
    "an unknown autoscaler": {"worker": {"scaling": {"kind": "deployment"}}},
    "a store that is no bucket": {"service": {"store": "/data"}},
    "a host with a scheme": {"web": {"host": "https://pictures.example.org"}},
    "TLS without a certificate": {"ingress": {"tlsSecrets": {"web": ""}}},
    "a peer that Kubernetes has not": {"networkPolicy": {"dns": [{"cidr": "10.0.0.0/8"}]}},
}


@pytest.mark.parametrize("values", WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused(rendered, values):
    with pytest.raises(helm.HelmValuesError, match="specifications of the schema"):
        rendered(values)


def test_the_schema_knows_each_value_and_each_setting(deploy):
    folder = deploy / "helm" / "teststrip"
    schema = json.loads((folder / "values.schema.json").read_text())
    values = yaml.safe_load((folder / "values.yaml").read_text())

    def compare(given, rule, path):
        rule = schema["definitions"][rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule
        if "properties" not in rule or rule.get("additionalProperties", True):
            return
        optional = {"variant"} if path.endswith(".image") else {"global"} if not path else set()
        assert rule["properties"].keys() - given.keys() <= optional, path
        for key, value in given.items():
            if isinstance(value, dict):
                compare(value, rule["properties"][key], f"{path}.{key}")

    compare(values, schema, "")
    for part, config, own in (
        ("service", ServiceConfig, 12),
        ("track", ServerConfig, 10),
    ):
        told = set(schema["properties"][part]["properties"]["settings"]["propertyNames"]["enum"])
        fields = {name.upper() for name in config.model_fields}
        assert told < fields
        assert len(fields - told) == own, (
            "a new setting: is it a value of its own, or one of these?"
        )


def test_prometheus_asks_where_boards_and_alerts_look(rendered, deploy):
    made = rendered(file="values-eks.yaml")
    told = yaml.safe_load((deploy / "monitoring" / "prometheus.yaml").read_text())
    jobs = {job["job_name"] for job in told["scrape_configs"]} - {"teststrip-gpu"}
    (track,) = of_kind(made, "ScrapeConfig")
    (target,) = track["spec"]["staticConfigs"]
    found = {target["labels"]["job"]} | {
        rule["replacement"]
        for part in of_kind(made, "PodMonitor")
        for end in part["spec"]["podMetricsEndpoints"]
        for rule in end["relabelings"]
    }

    assert found == jobs
    (host,) = target["targets"]
    given = environment(pod_of(made, "teststrip-track")["containers"][0])
    assert host.rpartition(":")[0] in given["TESTSTRIP_TRACK_ALLOW_HOSTS"].split(",")


# What MLflow's own chart (charts/ of its repository, 0.1.1) takes of what is set here.
MLFLOW = {
    "image": {"repository", "tag", "pullPolicy"},
    "server": {"value_options", "flag_options", "staticPrefix"},
    "mlflow": {"backendStoreUri", "backendStoreUriFrom", "artifactsDestination"},
    "ingress": {"enabled", "className", "annotations", "hosts", "tls"},
    "networkPolicy": {"enabled", "additionalEgressRules"},
    "podSecurityContext": {"runAsNonRoot", "runAsUser", "fsGroup", "seccompProfile"},
    "resources": {"requests", "limits"},
    "metrics": {"enabled", "path"},
    "env": None,
    "extraVolumes": None,
    "extraVolumeMounts": None,
    "imagePullSecrets": None,
}


def test_the_values_for_mlflows_own_chart_are_values_of_it_and_hold_no_secret(deploy):
    values = yaml.safe_load((deploy / "helm" / "mlflow-chart.yaml").read_text())

    assert values.keys() <= MLFLOW.keys()
    for key, known in MLFLOW.items():
        if known is not None:
            assert values.get(key, {}).keys() <= known, key
    assert set(values["mlflow"]) == {"backendStoreUriFrom", "artifactsDestination"}
    assert values["server"]["value_options"]["app_name"] == "basic-auth"
    assert values["ingress"]["tls"]
    (host,) = [rule["host"] for rule in values["ingress"]["hosts"]]
    assert host in values["server"]["value_options"]["allowed_hosts"].split(",")
    for var in values["env"]:
        is_secret = re.search(r"SECRET|PASSWORD|_KEY", var["name"]) is not None
        assert is_secret == ("valueFrom" in var), var["name"]
    mounted = {mount["mountPath"]: mount["name"] for mount in values["extraVolumeMounts"]}
    named = {var["name"]: var.get("value") for var in values["env"]}
    folder = named["MLFLOW_AUTH_CONFIG_PATH"].rpartition("/")[0]
    volumes = {v["name"]: v for v in values["extraVolumes"]}
    assert "secret" in volumes[mounted[folder]]


def test_another_name_of_the_release_is_everywhere(rendered):
    made = rendered({"track": {"enabled": True}, "studio": {"enabled": True}}, name="blue")

    assert all(part["metadata"]["name"].startswith("blue-teststrip-") for part in made)
    given = environment(pod_of(made, "blue-teststrip-web")["containers"][0])
    assert given["MLFLOW_TRACKING_URI"] == "http://blue-teststrip-track:5000"


def test_the_guide_names_every_secret_and_commands_that_exist(repository, deploy):
    text = (repository / "docs" / "deploy" / "kubernetes.md").read_text()
    values = yaml.safe_load((deploy / "helm" / "teststrip" / "values.yaml").read_text())

    made = set(re.findall(r"create secret generic (teststrip-[a-z-]+)", text))
    looped = re.search(r"for name in ([a-z ]+); do", text)[1].split()
    made |= {f"teststrip-{name}" for name in looped}
    assert {name for name in values["secrets"].values() if name} <= made
    for name in SECRET:
        assert name in text, name
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    commands = re.findall(
        r"teststrip ((?:track|service|studio|study) [a-z ]+?[a-z]+)(?= |$)", blocks
    )
    assert len(commands) >= 4
    for line in commands:
        command = typer.main.get_command(app)
        for word in line.split():
            if hasattr(command, "commands"):
                assert word in command.commands, f"no {word} in `teststrip {line}`"
                command = command.commands[word]
    for link in re.findall(r"\]\((\.\./[^)#]+)\)", text):
        assert (repository / "docs" / "deploy" / link).exists(), link
