"""Terraform applied to an AWS on this machine, looked at with boto3, planned again, destroyed.

One test, for applying takes two minutes: Terraform asks a new database for its state every ten
seconds, from the first minute on. What the local AWS cannot show: that containers start.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(1500)]

REGION = "eu-central-1"
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/teststrip-track@sha256:" + "0" * 64
SERVICES = (
    *("acm", "applicationautoscaling", "cloudwatch", "ec2", "ecr", "ecs", "elbv2"),
    *("iam", "logs", "rds", "route53", "s3", "secretsmanager", "sts"),
)
NOT_SECRET = {"AWS_DEFAULT_REGION", "TMPDIR", "FILE", "PEM", "MASTER"}
# What the local AWS was told and does not tell again (moto 5.2).
FORGOTTEN = {
    ("aws_db_parameter_group.this", "parameter"),  # whose each is: ours or the engine's
    ("aws_ecs_service.track", "availability_zone_rebalancing"),
    ("aws_ecs_service.track", "health_check_grace_period_seconds"),
}


@dataclass
class Aws:
    """The local AWS: clients of it, and Terraform in a folder that is set up for it."""

    url: str
    folder: Path
    tool: Callable[..., subprocess.CompletedProcess[str]]
    env: dict[str, str]

    def client(self, name: str) -> Any:
        return boto3.client(
            name,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def terraform(self, *args: object, **kwargs: Any) -> str:
        done = self.tool("terraform", *args, "-no-color", cwd=self.folder, env=self.env, **kwargs)
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        return {k: v["value"] for k, v in json.loads(self.terraform("output", "-json")).items()}


@pytest.fixture
def aws(tool, deploy: Path, aws_plugins, local_aws: str, tmp_path: Path) -> Aws:
    folder = tmp_path / "aws"
    folder.mkdir()
    for file in [*deploy.glob("aws/*.tf"), *deploy.glob("aws/*.py")]:
        shutil.copy(file, folder)
    endpoints = "".join(f'    {name} = "{local_aws}"\n' for name in SERVICES)
    (folder / "local_override.tf").write_text(
        'provider "aws" {\n  access_key = "test"\n  secret_key = "test"\n'
        "  skip_credentials_validation = true\n  skip_metadata_api_check = true\n"
        f"  s3_use_path_style = true\n  endpoints {{\n{endpoints}  }}\n}}\n"
    )
    tool(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-subj", "/CN=ca", "-days", "2"),
        *("-keyout", tmp_path / "ca.key", "-out", tmp_path / "ca.pem"),
    )
    found = Aws(local_aws, folder, tool, dict(aws_plugins))
    zone = found.client("route53").create_hosted_zone(Name="example.org", CallerReference="1")
    settings = {
        "region": REGION,
        "host_name": "mlflow.example.org",
        "zone_id": zone["HostedZone"]["Id"].rsplit("/", 1)[-1],
        "allow_cidrs": ["203.0.113.0/24"],
        "image": IMAGE,
        "database_ca_file": str(tmp_path / "ca.pem"),
        "schedule": {"start": "0 7 ? * MON-FRI *", "stop": "0 20 ? * * *"},
        "protect": False,
    }
    (folder / "terraform.tfvars.json").write_text(json.dumps(settings))
    found.terraform("init", "-input=false")
    return found


def test_it_is_applied_safe_stays_as_it_is_rotates_and_goes_away(aws: Aws):
    aws.terraform("apply", "-auto-approve", "-input=false")

    the_database_is_private_and_encrypted(aws)
    there_is_no_way_out_to_the_internet(aws)
    only_tls_leads_in_and_only_from_allowed_networks(aws)
    the_bucket_is_private(aws)
    roles_may_do_little(aws)
    tasks_hold_no_plain_secret_and_cannot_be_changed(aws)
    nobody_finds_a_secret_in_the_state(aws)
    the_service_scales_by_the_clock(aws)

    a_second_plan_changes_nothing(aws)
    one_secret_is_rotated_alone(aws)

    aws.terraform("destroy", "-auto-approve", "-input=false")
    nothing_is_left(aws)


def the_database_is_private_and_encrypted(aws: Aws) -> None:
    rds = aws.client("rds")
    [database] = rds.describe_db_instances()["DBInstances"]
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True
    assert database["BackupRetentionPeriod"] == 14
    assert database["MasterUserSecret"]["SecretArn"]  # made and rotated by RDS
    [group] = database["DBParameterGroups"]
    asked = rds.describe_db_parameters(DBParameterGroupName=group["DBParameterGroupName"])
    values = {p["ParameterName"]: p.get("ParameterValue") for p in asked["Parameters"]}
    assert values["rds.force_ssl"] == "1"
    inside = {subnet["SubnetIdentifier"] for subnet in database["DBSubnetGroup"]["Subnets"]}
    assert inside == set(aws.outputs()["prepare"]["subnets"])
    [group] = database["VpcSecurityGroups"]
    ways = [(p["FromPort"], p["ToPort"], sources(p)) for p in rules(aws, group)["IpPermissions"]]
    assert ways == [(5432, 5432, set(aws.outputs()["prepare"]["security_groups"]))]


def rules(aws: Aws, group: dict[str, str]) -> dict[str, Any]:
    asked = aws.client("ec2").describe_security_groups(GroupIds=[group["VpcSecurityGroupId"]])
    return asked["SecurityGroups"][0]


def sources(permission: dict[str, Any]) -> set[str]:
    return (
        {pair["GroupId"] for pair in permission.get("UserIdGroupPairs", [])}
        | {net["CidrIp"] for net in permission.get("IpRanges", [])}
        | {lst["PrefixListId"] for lst in permission.get("PrefixListIds", [])}
    )


def there_is_no_way_out_to_the_internet(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    private = aws.outputs()["prepare"]["subnets"]
    asked = [{"Name": "association.subnet-id", "Values": private}]
    tables = ec2.describe_route_tables(Filters=asked)["RouteTables"]
    routes = [route for table in tables for route in table["Routes"]]
    assert tables
    assert not [r for r in routes if r.get("DestinationCidrBlock") == "0.0.0.0/0"]
    assert not ec2.describe_nat_gateways()["NatGateways"]
    endpoints = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    kinds = {e["ServiceName"].split(f"{REGION}.")[1]: e["VpcEndpointType"] for e in endpoints}
    assert kinds.pop("s3") == "Gateway"
    assert set(kinds) == {"ecr.api", "ecr.dkr", "logs", "secretsmanager"}
    [server] = aws.outputs()["prepare"]["security_groups"]
    egress = rules(aws, {"VpcSecurityGroupId": server})["IpPermissionsEgress"]
    assert all(not source.startswith("0.0.0.0") for way in egress for source in sources(way))
    assert {way["FromPort"] for way in egress} == {443, 5432}


def only_tls_leads_in_and_only_from_allowed_networks(aws: Aws) -> None:
    elb = aws.client("elbv2")
    [balancer] = elb.describe_load_balancers()["LoadBalancers"]
    asked = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    listeners = {listener["Port"]: listener for listener in asked}
    assert set(listeners) == {80, 443}
    assert listeners[443]["Protocol"] == "HTTPS"
    assert listeners[443]["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2")
    assert listeners[443]["Certificates"]
    assert listeners[80]["DefaultActions"][0]["Type"] == "redirect"
    assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"
    [group] = balancer["SecurityGroups"]
    ways = rules(aws, {"VpcSecurityGroupId": group})["IpPermissions"]
    assert {(w["FromPort"], *sources(w)) for w in ways} == {
        (80, "203.0.113.0/24"),
        (443, "203.0.113.0/24"),
    }
    [target] = elb.describe_target_groups()["TargetGroups"]
    assert target["HealthCheckPath"] == "/health"


def the_bucket_is_private(aws: Aws) -> None:
    s3, bucket = aws.client("s3"), aws.outputs()["bucket"]
    closed = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(closed.values())
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    [rule] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert rule["Effect"] == "Deny"
    assert rule["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def roles_may_do_little(aws: Aws) -> None:
    iam, bucket = aws.client("iam"), f"arn:aws:s3:::{aws.outputs()['bucket']}"
    given: dict[str, dict[str, set[str]]] = {}
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
        assert not iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for statement in document["Statement"]:
                assert statement["Effect"] == "Allow"
                for action in listed(statement["Action"]):
                    assert "*" not in action
                    given.setdefault(name, {}).setdefault(action, set()).update(
                        listed(statement["Resource"])
                    )
    assert set(given) == {"teststrip-server", "teststrip-start", "teststrip-prepare"}

    server = given["teststrip-server"]
    assert server.pop("s3:ListBucket") == {bucket}
    assert {resource for some in server.values() for resource in some} == {f"{bucket}/artifacts/*"}
    assert {action.split(":")[0] for action in server} == {"s3"}

    names = {s["Name"]: s["ARN"] for s in aws.client("secretsmanager").list_secrets()["SecretList"]}
    ours = {arn for name, arn in names.items() if name.startswith("teststrip/")}
    assert len(ours) == 3
    read = "secretsmanager:GetSecretValue"
    assert given["teststrip-start"][read] == ours
    [master] = given["teststrip-prepare"][read] - {names["teststrip/database"]}
    assert master not in ours
    for role in ("teststrip-start", "teststrip-prepare"):
        everywhere = {action for action, on in given[role].items() if "*" in on}
        assert everywhere == {"ecr:GetAuthorizationToken"}  # AWS knows no narrower one


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def tasks_hold_no_plain_secret_and_cannot_be_changed(aws: Aws) -> None:
    ecs = aws.client("ecs")
    [arn] = ecs.list_services(cluster="teststrip")["serviceArns"]
    [service] = ecs.describe_services(cluster="teststrip", services=[arn])["services"]
    assert not service.get("enableExecuteCommand")
    network = service["networkConfiguration"]["awsvpcConfiguration"]
    assert network["assignPublicIp"] == "DISABLED"
    assert set(network["subnets"]) == set(aws.outputs()["prepare"]["subnets"])
    for task in (service["taskDefinition"], aws.outputs()["prepare"]["task"]):
        definition = ecs.describe_task_definition(taskDefinition=task)["taskDefinition"]
        for container in definition["containerDefinitions"]:
            assert container["image"] == IMAGE
            assert container["readonlyRootFilesystem"] is True
            assert container["user"] == "10001"
            assert container["linuxParameters"]["capabilities"]["drop"] == ["ALL"]
            plain = {pair["name"] for pair in container["environment"]}
            plain -= {n for n in plain if n.startswith("TESTSTRIP_")} | NOT_SECRET
            assert plain == set()
            for secret in container.get("secrets", []):
                arn, version = secret["valueFrom"], secret["valueFrom"].split(":")[7:]
                assert arn.startswith("arn:aws:secretsmanager:")
                if secret["name"] != "MASTER_PASSWORD":  # RDS changes it when it likes
                    assert version[-1]


def nobody_finds_a_secret_in_the_state(aws: Aws) -> None:
    state = (aws.folder / "terraform.tfstate").read_text()
    values = secret_values(aws)
    assert values["database"].startswith("postgresql://teststrip:")
    assert values["database"].endswith(
        ":5432/mlflow?sslmode=verify-full&sslrootcert=/data/database-ca.pem"
    )
    password = values["database"].split(":")[2].split("@")[0]
    found = [password, values["admin"], values["key"]]
    assert [len(secret) for secret in found] == [40, 24, 64]
    assert not [secret for secret in found if secret in state]


def secret_values(aws: Aws) -> dict[str, str]:
    secrets = aws.client("secretsmanager")
    return {
        name: secrets.get_secret_value(SecretId=f"teststrip/{name}")["SecretString"]
        for name in ("database", "admin", "key")
    }


def the_service_scales_by_the_clock(aws: Aws) -> None:
    scaling = aws.client("application-autoscaling")
    asked = scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    assert {a["Schedule"]: a["ScalableTargetAction"]["MaxCapacity"] for a in asked} == {
        "cron(0 7 ? * MON-FRI *)": 1,
        "cron(0 20 ? * * *)": 0,
    }


def a_second_plan_changes_nothing(aws: Aws) -> None:
    aws.terraform("plan", "-input=false", "-out=again")
    plan = json.loads(aws.terraform("show", "-json", "again"))
    changes = {one["address"]: one["change"] for one in plan["resource_changes"]}
    found = {
        (address, name)
        for address, change in changes.items()
        if change["actions"] != ["no-op"]
        for name in change["after"]
        if change["before"].get(name) != change["after"][name]
    }
    assert found == FORGOTTEN


def one_secret_is_rotated_alone(aws: Aws) -> None:
    before, task = secret_values(aws), server_task(aws)
    settings = aws.folder / "terraform.tfvars.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"rotation": {"admin": 2}}))
    aws.terraform("apply", "-auto-approve", "-input=false")
    after = secret_values(aws)
    assert [name for name in before if before[name] != after[name]] == ["admin"]
    assert server_task(aws) != task  # the service starts anew, with the new one


def server_task(aws: Aws) -> str:
    ecs = aws.client("ecs")
    [service] = ecs.describe_services(cluster="teststrip", services=["track"])["services"]
    return service["taskDefinition"]


def nothing_is_left(aws: Aws) -> None:
    assert not aws.client("s3").list_buckets()["Buckets"]
    assert not aws.client("rds").describe_db_instances()["DBInstances"]
    assert not aws.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert not aws.client("iam").list_roles()["Roles"]
    vpcs = aws.client("ec2").describe_vpcs()["Vpcs"]
    assert not [vpc for vpc in vpcs if not vpc["IsDefault"]]
