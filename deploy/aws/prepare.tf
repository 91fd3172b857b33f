# One-shot task, run before the first start and before every upgrade (prepare.py starts it and
# waits): makes the server's role and both databases, then brings their tables up to date.

locals {
  databases_container = merge(local.container, {
    name        = "databases"
    essential   = false
    entryPoint  = ["python", "-c"]
    command     = [file("${path.module}/databases.py")]
    dependsOn   = [{ containerName = "database-ca", condition = "SUCCESS" }]
    environment = [{ name = "MASTER", value = aws_db_instance.this.username }]
    secrets = [
      { name = "SERVER_ADDRESS", valueFrom = local.pinned.database },
      { name = "MASTER_PASSWORD", valueFrom = "${local.master_secret}:password::" },
    ]
  })

  migrate_container = merge(local.container, {
    name        = "migrate"
    essential   = true
    command     = ["track", "migrate"]
    dependsOn   = [{ containerName = "databases", condition = "SUCCESS" }]
    environment = [for name, value in local.environment : { name = name, value = value }]
    secrets     = [{ name = "TESTSTRIP_TRACK_BACKEND", valueFrom = local.pinned.database }]
  })
}

resource "aws_ecs_task_definition" "prepare" {
  family                   = "${var.name}-prepare"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = aws_iam_role.starter["prepare"].arn # and no role for itself
  container_definitions = jsonencode([
    local.database_ca_container, local.databases_container, local.migrate_container,
  ])
  volume {
    name = "data"
  }
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
}
