"""prepare.py: starts the one-shot task where the server runs, waits for it, says how it ended."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

pytestmark = pytest.mark.deploy

REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


@pytest.fixture
def script(deploy: Path) -> Path:
    return deploy / "aws" / "prepare.py"


def run(script: Path, url: str, plan: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script],
        input=json.dumps(plan),
        env={"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": url} | KEYS,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_task_is_started_in_the_servers_network_and_its_end_is_reported(
    script, local_aws, monkeypatch
):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    ecs = boto3.client("ecs", region_name=REGION, endpoint_url=local_aws)
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=local_aws)
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    ecs.create_cluster(clusterName="teststrip")
    task = ecs.register_task_definition(
        family="prepare",
        networkMode="awsvpc",
        containerDefinitions=[{"name": "migrate", "image": "x", "memory": 512}],
    )["taskDefinition"]["taskDefinitionArn"]
    plan = {"region": REGION, "cluster": "teststrip", "task": task, "log_group": "/none"}
    plan |= {"subnets": [subnet["SubnetId"]], "security_groups": [group]}

    done = run(script, local_aws, plan)
    assert done.returncode == 0, done.stderr  # the local AWS says that all went well
    assert "prepare: started arn:aws:ecs:" in done.stderr
    assert "prepare: done" in done.stderr
    arn = done.stderr.split()[2]
    [ran] = ecs.describe_tasks(cluster="teststrip", tasks=[arn])["tasks"]
    details = {d["name"]: d["value"] for a in ran["attachments"] for d in a["details"]}
    assert details["subnetId"] == subnet["SubnetId"]
    assert ran["launchType"] == "FARGATE"


@pytest.mark.parametrize(
    ("containers", "rc"),
    [
        ([{"name": "databases", "exitCode": 0}, {"name": "migrate", "exitCode": 0}], 0),
        ([{"name": "databases", "exitCode": 1}, {"name": "migrate"}], 1),
        ([{"name": "databases", "exitCode": 0}, {"name": "migrate", "exitCode": 2}], 1),
        ([{"name": "databases"}], 1),  # the image could not be pulled
        ([], 1),
    ],
)
def test_only_where_every_container_ended_with_0_all_is_prepared(script, containers, rc, capsys):
    judge = runpy.run_path(str(script))["judge"]
    assert judge({"containers": containers, "stoppedReason": "Essential container exited"}) == rc
    assert ("prepare: done" in capsys.readouterr().err) == (rc == 0)
