output "url" {
  description = "MLFLOW_TRACKING_URI of the clients."
  value       = "https://${var.host_name}"
}

output "balancer" {
  description = "Where host_name must point, if not by zone_id: a CNAME."
  value       = aws_lb.this.dns_name
}

output "repository" {
  description = "Where the image is pushed to."
  value       = aws_ecr_repository.track.repository_url
}

output "bucket" {
  description = "Holds the artifacts."
  value       = aws_s3_bucket.artifacts.bucket
}

output "admin_secret" {
  description = "Secret that holds the first password of the user admin."
  value       = aws_secretsmanager_secret.this["admin"].name
}

output "prepare" {
  description = "What prepare.py starts: cluster, task, and the network it runs in."
  value = {
    region          = var.region
    cluster         = aws_ecs_cluster.this.name
    task            = aws_ecs_task_definition.prepare.arn
    subnets         = aws_subnet.private[*].id
    security_groups = [aws_security_group.server.id]
    log_group       = aws_cloudwatch_log_group.server.name
  }
}
