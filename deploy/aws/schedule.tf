# Scale to zero by the clock, where it is asked for: Fargate has no "on the first request".

resource "aws_appautoscaling_target" "track" {
  count              = var.schedule == null ? 0 : 1
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.track.name}"
  min_capacity       = var.replicas
  max_capacity       = var.replicas
  lifecycle {
    ignore_changes = [min_capacity, max_capacity] # the actions below change them all day
  }
}

resource "aws_appautoscaling_scheduled_action" "track" {
  for_each           = var.schedule == null ? {} : { start = var.replicas, stop = 0 }
  name               = "${var.name}-${each.key}"
  service_namespace  = aws_appautoscaling_target.track[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.track[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.track[0].resource_id
  schedule           = "cron(${var.schedule[each.key]})"
  timezone           = var.schedule.timezone
  scalable_target_action {
    min_capacity = each.value
    max_capacity = each.value
  }
}
