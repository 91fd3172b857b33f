"""The GitLab runner's values and manifests: known to chart, runner and Kubernetes, least of rights.

GitLab's chart is not here. Its part is done by a chart of one template that renders
`runners.config` as theirs does, and by `job_pod`, which makes of the configuration the pod that the
runner would ask for.
"""

import json
import re
import tomllib
from pathlib import Path

import helm_python as helm
import pytest
import yaml

from teststrip.testing.gitlab_pipeline import Pipeline

pytestmark = pytest.mark.deploy
GPU = "nvidia.com/gpu"
NAMESPACE = "gitlab-runner"
KNOWN = yaml.safe_load(Path(__file__).with_name("gitlab_runner_keys.yaml").read_text())


@pytest.fixture(scope="module")
def folder(deploy):
    return deploy / "gitlab-runner"


@pytest.fixture(scope="module")
def values(folder):
    return yaml.safe_load((folder / "values.yaml").read_text())


@pytest.fixture(scope="module")
def config(values, tmp_path_factory):
    """config.toml as Helm renders it."""
    chart = tmp_path_factory.mktemp("chart")
    (chart / "templates").mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: one\nversion: 1.0.0\n")
    (chart / "templates/config.yaml").write_text(
        "config: |\n{{ tpl .Values.runners.config . | indent 2 }}\n"
    )
    with helm.Chart.load(chart) as loaded:
        (made,) = loaded.render(values, name="gitlab-runner", namespace=NAMESPACE).values()
    return tomllib.loads(yaml.safe_load(made)["config"])


@pytest.fixture(scope="module")
def kubernetes(config):
    (runner,) = config["runners"]
    return runner["kubernetes"]


@pytest.fixture(scope="module")
def pod(config):
    (runner,) = config["runners"]
    return job_pod(runner)


@pytest.fixture(scope="module")
def manifests(folder):
    return [*documents(folder / "namespace.yaml"), *documents(folder / "gpu-pod.yaml")]


def documents(file):
    return [part for part in yaml.safe_load_all(file.read_text()) if part]


def of_kind(parts, kind):
    return [part for part in parts if part["kind"] == kind]


def job_pod(runner):
    """The pod of a job: what the executor makes of its settings, then the patches of pod_spec."""
    own = runner["kubernetes"]
    shared = {
        "securityContext": {
            "privileged": own["privileged"],
            "allowPrivilegeEscalation": own["allow_privilege_escalation"],
            "capabilities": {"drop": own["cap_drop"]},
        },
        "volumeMounts": [
            {"name": volume["name"], "mountPath": volume["mount_path"]}
            for volumes in own["volumes"].values()
            for volume in volumes
        ],
        "env": [
            dict(zip(("name", "value"), line.split("=", 1), strict=True))
            for line in runner["environment"]
        ],
    }
    inner = own["pod_security_context"]
    spec = {
        "restartPolicy": "Never",
        "runtimeClassName": own["runtime_class_name"],
        "serviceAccountName": own["service_account"],
        "automountServiceAccountToken": own["automount_service_account_token"],
        "terminationGracePeriodSeconds": own["pod_termination_grace_period_seconds"],
        "nodeSelector": own["node_selector"],
        "tolerations": [
            {"key": key, "operator": "Exists", "effect": effect}  # there is no "=" in our keys
            for key, effect in own["node_tolerations"].items()
        ],
        "securityContext": {
            "runAsNonRoot": inner["run_as_non_root"],
            "runAsUser": inner["run_as_user"],
            "runAsGroup": inner["run_as_group"],
            "fsGroup": inner["fs_group"],
        },
        "volumes": [
            *(
                {"name": one["name"], "persistentVolumeClaim": {"claimName": one["name"]}}
                for one in own["volumes"]["pvc"]
            ),
            *(
                {
                    "name": one["name"],
                    "emptyDir": {"medium": one["medium"], "sizeLimit": one["size_limit"]},
                }
                for one in own["volumes"]["empty_dir"]
            ),
        ],
        "containers": [
            {
                "name": "build",
                "image": own["image"],
                "resources": {
                    "requests": {"cpu": own["cpu_request"], "memory": own["memory_request"]},
                    "limits": {"memory": own["memory_limit"]},
                },
                **shared,
            },
            {
                "name": "helper",
                "image": own["helper_image"],
                "resources": {
                    "requests": {
                        "cpu": own["helper_cpu_request"],
                        "memory": own["helper_memory_request"],
                    },
                    "limits": {"memory": own["helper_memory_limit"]},
                },
                **shared,
            },
        ],
    }
    for patch in own["pod_spec"]:
        assert patch["patch_type"] == "strategic"
        spec = strategic(spec, yaml.safe_load(patch["patch"]))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "job", "namespace": own["namespace"]},
        "spec": spec,
    }


def strategic(under, over):
    """Kubernetes' strategic merge, as far as our patches go: maps by key, containers by name."""
    made = dict(under)
    for key, value in over.items():
        if isinstance(value, dict):
            made[key] = strategic(under.get(key, {}), value)
        elif isinstance(value, list):
            new = {one["name"]: one for one in value}
            assert new.keys() <= {one["name"] for one in under[key]}, "no container is added"
            made[key] = [strategic(one, new.get(one["name"], {})) for one in under[key]]
        else:
            made[key] = value
    return made


def test_chart_and_runner_know_every_key(values, config, kubernetes):
    assert not values.keys() - set(KNOWN["chart"])
    for name, known in KNOWN["chart_of"].items():
        assert not values[name].keys() - set(known), name
    assert config.keys() == {"runners"}
    assert not config["runners"][0].keys() - set(KNOWN["runner"])
    assert not kubernetes.keys() - set(KNOWN["kubernetes"])
    for name, known in KNOWN["kubernetes_of"].items():
        given = kubernetes[name]
        for one in given if isinstance(given, list) else [given]:
            assert not one.keys() - set(known), name
    for kind, volumes in kubernetes["volumes"].items():
        assert not {key for volume in volumes for key in volume} - set(KNOWN["volume_of"][kind])


def test_a_job_finds_a_gpu_and_has_it_alone(pod, config):
    build, helper = pod["spec"]["containers"]

    assert build["resources"]["limits"][GPU] == build["resources"]["requests"][GPU] == "1"
    assert GPU not in helper["resources"]["limits"], "nobody else takes one"
    assert pod["spec"]["nodeSelector"]["nvidia.com/gpu.present"] == "true"
    assert pod["spec"]["tolerations"] == [
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert pod["spec"]["runtimeClassName"] == "nvidia"
    assert "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION=true" in config["runners"][0]["environment"], (
        "without it pod_spec is passed over, and the job has no GPU"
    )


def test_a_job_has_no_rights(pod, manifests):
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    outer = spec["securityContext"]
    assert (outer["runAsNonRoot"], outer["runAsUser"], outer["fsGroup"]) == (True, 10001, 10001)
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        inner = container["securityContext"]
        assert inner["privileged"] is inner["allowPrivilegeEscalation"] is False
        assert inner["capabilities"] == {"drop": ["ALL"]}
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"persistentVolumeClaim", "emptyDir"}, "nothing of the node"
    (account,) = of_kind(manifests, "ServiceAccount")
    assert account["metadata"]["name"] == spec["serviceAccountName"]
    assert account["automountServiceAccountToken"] is False


def test_the_runner_may_do_what_the_executor_does_and_no_more(values, tool, tmp_path):
    rules = values["rbac"]["rules"]
    given = {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}

    assert values["rbac"]["clusterWideAccess"] is False
    assert given == {
        "pods": {"create", "delete", "get", "list", "watch"},
        "pods/attach": {"create", "delete", "get", "patch"},
        "pods/exec": {"create", "delete", "get", "patch"},
        "pods/log": {"get", "list"},
        "secrets": {"create", "delete", "get", "update"},
        "serviceaccounts": {"get"},
        "events": {"list"},
    }
    assert all(rule["apiGroups"] == [""] for rule in rules)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "gitlab-runner", "namespace": NAMESPACE},
        "rules": rules,
    }
    file = tmp_path / "role.json"
    file.write_text(json.dumps(role))
    tool("kubernetes-validate", "--strict", file)
    context = values["securityContext"]
    assert (context["privileged"], context["runAsNonRoot"]) == (False, True)
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_no_token_is_here(folder, values):
    assert values["runners"]["secret"] == "gitlab-runner-token"
    assert values["runnerRegistrationToken"] == ""
    assert "runnerToken" not in values
    for file in folder.iterdir():
        assert not re.search(r"gl(rt|pat|cbt)-[\w-]{10}", file.read_text()), file


def test_nothing_floats(values, pod, manifests):
    images = [container["image"] for container in pod["spec"]["containers"]]
    images += [of_kind(manifests, "Pod")[0]["spec"]["containers"][0]["image"]]
    images += [f"{values['image']['image']}:{values['image']['tag']}"]
    for image in images:
        assert re.search(r":[a-z0-9_-]*v?\d+\.\d+\.\d+(-\w+)?$", image), image
    helper = pod["spec"]["containers"][1]["image"]
    assert helper.rsplit("-", 1)[1] == values["image"]["tag"].removeprefix("alpine-")


@pytest.mark.parametrize("version", ["", "1.30"])
def test_kubernetes_knows_every_field(manifests, pod, version, tool, tmp_path):
    files = [tmp_path / f"{n}.json" for n in range(len(manifests) + 1)]
    for file, part in zip(files, [*manifests, pod], strict=True):
        file.write_text(json.dumps(part))

    tool("kubernetes-validate", *(["-k", version] if version else []), "--strict", *files)


def test_kubernetes_refuses_a_field_that_it_does_not_know(pod, tool, tmp_path):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(strategic(pod, {"spec": {"runtimeClassNames": "nvidia"}})))

    assert "runtimeClassNames" in str(tool("kubernetes-validate", "--strict", file, rc=1))


def test_the_pod_for_work_by_hand_reserves_its_gpu_and_gives_it_back(manifests):
    (one,) = of_kind(manifests, "Pod")
    spec = one["spec"]
    (container,) = spec["containers"]

    assert container["resources"]["limits"][GPU] == "1"
    assert spec["nodeSelector"]["nvidia.com/gpu.present"] == "true"
    assert spec["tolerations"][0]["key"] == GPU
    assert spec["activeDeadlineSeconds"] == 8 * 3600
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert one["metadata"]["namespace"] != NAMESPACE
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    home = {var["value"] for var in container["env"] if var["name"] == "HOME"}
    assert home <= mounted, "all else is read-only"
    claims = {claim["metadata"]["name"] for claim in of_kind(manifests, "PersistentVolumeClaim")}
    assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] in claims


def test_what_the_jobs_stand_on_is_there(manifests, pod, values):
    here = [part for part in manifests if part["metadata"].get("namespace") == NAMESPACE]
    (claim,) = of_kind(here, "PersistentVolumeClaim")
    assert (
        pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
        == (claim["metadata"]["name"])
    )
    (quota,) = of_kind(here, "ResourceQuota")
    assert int(quota["spec"]["hard"][f"requests.{GPU}"]) == values["concurrent"]
    (policy,) = of_kind(here, "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]


def test_the_projects_template_and_the_runner_agree(repository, kubernetes):
    template = repository / "src/teststrip/project/template/ci/gitlab/.gitlab-ci.yml"
    pipeline = Pipeline.read(template)

    assert kubernetes["volumes"]["pvc"][0]["mount_path"] == pipeline.variables["TESTSTRIP_KEEP"]
    assert kubernetes["image"] == pipeline.variables["TESTSTRIP_IMAGE"]


def test_the_guide_names_these_files_and_versions(repository, values):
    guide = (repository / "docs/deploy/gitlab-runner.md").read_text()
    told = (repository / "deploy/gitlab-runner/values.yaml").read_text()
    (chart,) = set(re.findall(r"gitlab/gitlab-runner --version ([\d.]+)", guide + told))
    assert f"gitlab/gitlab-runner {chart}," in told
    assert values["image"]["tag"] == "alpine-v" + re.search(r"runner ([\d.]+)\)", told)[1]
    assert f"secret generic {values['runners']['secret']}" in guide
    for name in ("values.yaml", "namespace.yaml", "gpu-pod.yaml"):
        assert f"deploy/gitlab-runner/{name}" in guide
