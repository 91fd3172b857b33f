locals {
  alarms = {
    errors = {
      about     = "The server answers with errors"
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count"
      statistic = "Sum", above = true, limit = 10
      of        = { LoadBalancer = aws_lb.this.arn_suffix }
    }
    unhealthy = {
      about     = "A server is not healthy"
      namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount"
      statistic = "Maximum", above = true, limit = 0
      of        = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.track.arn_suffix }
    }
    disk = {
      about     = "The database has less than 2 GiB of disk left"
      namespace = "AWS/RDS", metric = "FreeStorageSpace"
      statistic = "Minimum", above = false, limit = 2147483648
      of        = { DBInstanceIdentifier = aws_db_instance.this.identifier }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.of
  statistic           = each.value.statistic
  comparison_operator = each.value.above ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = each.value.limit
  period              = 300
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching" # asleep is not broken
  alarm_actions       = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
  ok_actions          = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
}
