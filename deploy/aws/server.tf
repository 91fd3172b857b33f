# The server: read-only root, no shell into it, health at /health, image by digest.

resource "aws_cloudwatch_log_group" "server" {
  name              = "/${var.name}/track"
  retention_in_days = var.log_days
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

locals {
  environment = {
    AWS_DEFAULT_REGION              = var.region
    TESTSTRIP_HOME                  = "/data"
    TMPDIR                          = "/data" # uploads in flight; the root is read-only
    TESTSTRIP_TRACK_ARTIFACTS       = "s3://${aws_s3_bucket.artifacts.bucket}/${local.prefix}"
    TESTSTRIP_TRACK_PUBLIC_URL      = "https://${var.host_name}"
    TESTSTRIP_TRACK_TRUSTED_PROXIES = aws_vpc.this.cidr_block # the balancer says who asks
    TESTSTRIP_TRACK_LOG             = "json"
    TESTSTRIP_TRACK_MIGRATE         = "false" # prepare.tf does; servers that start together must not
  }

  container = {
    image                  = var.image
    readonlyRootFilesystem = true
    user                   = "10001"
    mountPoints            = [{ sourceVolume = "data", containerPath = "/data", readOnly = false }]
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.server.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "track"
      }
    }
  }

  # Lays the CA of RDS where the database's address looks for it.
  database_ca_container = merge(local.container, {
    name       = "database-ca"
    essential  = false
    entryPoint = ["python", "-c"]
    command    = ["import os, pathlib; pathlib.Path(os.environ['FILE']).write_text(os.environ['PEM'])"]
    environment = [
      { name = "FILE", value = local.database_ca },
      { name = "PEM", value = file(var.database_ca_file) },
    ]
  })

  server_container = merge(local.container, {
    name         = "server"
    essential    = true
    command      = ["track", "serve", "--host", "0.0.0.0", "--port", "5000"]
    portMappings = [{ containerPort = 5000, hostPort = 5000, protocol = "tcp" }]
    dependsOn    = [{ containerName = "database-ca", condition = "SUCCESS" }]
    stopTimeout  = 60
    environment  = [for name, value in local.environment : { name = name, value = value }]
    secrets = [
      { name = "TESTSTRIP_TRACK_BACKEND", valueFrom = local.pinned.database },
      { name = "TESTSTRIP_TRACK_ADMIN_PASSWORD", valueFrom = local.pinned.admin },
      { name = "TESTSTRIP_TRACK_SECRET_KEY", valueFrom = local.pinned.key },
    ]
    healthCheck = {
      command     = ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
      interval    = 15
      timeout     = 5
      retries     = 4
      startPeriod = 60
    }
  })
}

resource "aws_ecs_task_definition" "server" {
  family                   = "${var.name}-track"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task_cpu
  memory                   = var.task_memory
  task_role_arn            = aws_iam_role.server.arn
  execution_role_arn       = aws_iam_role.starter["start"].arn
  container_definitions    = jsonencode([local.database_ca_container, local.server_container])
  volume {
    name = "data" # empty at every start, gone with the task; nothing in it needs to be kept
  }
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
}

resource "aws_ecs_service" "track" {
  name                               = "track"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.server.arn
  launch_type                        = "FARGATE"
  desired_count                      = var.replicas
  enable_execute_command             = false
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120
  network_configuration {
    subnets          = aws_subnet.private[*].id
    security_groups  = [aws_security_group.server.id]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.track.arn
    container_name   = "server"
    container_port   = 5000
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true # a version that does not get healthy is taken back
  }
  depends_on = [
    aws_lb_listener.https, aws_iam_role_policy.server, aws_iam_role_policy.starter,
    aws_vpc_endpoint.interface, aws_vpc_endpoint.s3,
  ]
}
