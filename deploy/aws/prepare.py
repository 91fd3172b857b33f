"""Starts the one-shot task that makes databases and migrates them, waits, shows its log.

    terraform output -json prepare | python prepare.py

Needs boto3 and credentials of somebody who may run tasks. Exit 0: prepared; 1: failed.
"""

import json
import sys
import time

import boto3

POLL_S = 2.0
LONGEST_S = 1800.0  # a migration of a large database takes minutes


def main() -> int:
    """Runs the task named on standard input, until its containers have ended."""
    plan = json.load(sys.stdin)
    ecs = boto3.client("ecs", region_name=plan["region"])
    answer = ecs.run_task(
        cluster=plan["cluster"],
        taskDefinition=plan["task"],
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": plan["subnets"],
                "securityGroups": plan["security_groups"],
                "assignPublicIp": "DISABLED",
            }
        },
    )
    if not answer["tasks"]:
        reasons = ", ".join(fault.get("reason", "?") for fault in answer["failures"])
        print(f"prepare: the task did not start: {reasons}", file=sys.stderr)
        return 1
    arn = answer["tasks"][0]["taskArn"]
    print(f"prepare: started {arn}", file=sys.stderr)
    task = wait(ecs, plan["cluster"], arn)
    show_log(plan, arn)
    return judge(task)


def wait(ecs, cluster: str, arn: str) -> dict:
    """The task once it has stopped. Raises TimeoutError after LONGEST_S."""
    until = time.monotonic() + LONGEST_S
    while True:
        task = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]
        if task["lastStatus"] == "STOPPED":
            return task
        if time.monotonic() > until:
            raise TimeoutError(f"{arn} is {task['lastStatus']} after {LONGEST_S:.0f} s")
        time.sleep(POLL_S)


def show_log(plan: dict, arn: str) -> None:
    """What its containers said, to standard error."""
    logs = boto3.client("logs", region_name=plan["region"])
    for container in ("database-ca", "databases", "migrate"):
        stream = f"track/{container}/{arn.rsplit('/', 1)[-1]}"
        try:
            events = logs.get_log_events(
                logGroupName=plan["log_group"], logStreamName=stream, startFromHead=True
            )["events"]
        except logs.exceptions.ResourceNotFoundException:
            continue  # that container did not start
        for event in events:
            print(f"{container}: {event['message']}", file=sys.stderr)


def judge(task: dict) -> int:
    """0 where every container ended with 0."""
    bad = [c for c in task.get("containers", []) if c.get("exitCode") != 0]
    if not bad and task.get("containers"):
        print("prepare: done", file=sys.stderr)
        return 0
    for container in bad:
        code = container.get("exitCode", "never started")
        print(
            f"prepare: {container['name']}: {code} {container.get('reason', '')}", file=sys.stderr
        )
    print(f"prepare: failed: {task.get('stoppedReason', 'no reason given')}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
