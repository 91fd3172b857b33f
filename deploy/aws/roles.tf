# Three roles: what the server may do (one folder of one bucket), and what ECS may fetch for it
# (image, log, its three secrets), or for the task that prepares the databases (the master's too).

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition { # not for another account's tasks
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.me.account_id]
    }
  }
}

resource "aws_iam_role" "server" {
  name               = "${var.name}-server"
  description        = "The tracking server: artifacts"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

resource "aws_iam_role_policy" "server" {
  name   = "artifacts"
  role   = aws_iam_role.server.id
  policy = data.aws_iam_policy_document.server.json
}

data "aws_iam_policy_document" "server" {
  statement {
    sid = "Objects"
    actions = [
      "s3:GetObject", "s3:PutObject", "s3:DeleteObject",
      "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    ]
    resources = ["${aws_s3_bucket.artifacts.arn}/${local.prefix}/*"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.artifacts.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [local.prefix, "${local.prefix}/*"]
    }
  }
}

locals {
  starters = {
    start   = [for name in keys(local.secrets) : aws_secretsmanager_secret.this[name].arn]
    prepare = [aws_secretsmanager_secret.this["database"].arn, local.master_secret]
  }
  master_secret = aws_db_instance.this.master_user_secret[0].secret_arn
}

resource "aws_iam_role" "starter" {
  for_each           = local.starters
  name               = "${var.name}-${each.key}"
  description        = "What ECS fetches before the containers start"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

resource "aws_iam_role_policy" "starter" {
  for_each = local.starters
  name     = "fetch"
  role     = aws_iam_role.starter[each.key].id
  policy   = data.aws_iam_policy_document.starter[each.key].json
}

data "aws_iam_policy_document" "starter" {
  for_each = local.starters
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = each.value
  }
  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.track.arn]
  }
  statement {
    sid       = "Registry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # AWS knows no narrower one for this action
  }
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.server.arn}:*"]
  }
}
