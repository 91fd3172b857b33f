# Made while Terraform runs and written once: neither the state nor a plan holds them. A number in
# var.rotation counted up makes a new one. Versions are pinned by their id in the tasks.

ephemeral "aws_secretsmanager_random_password" "database" {
  password_length     = 40
  exclude_punctuation = true # it stands in an address
}

ephemeral "aws_secretsmanager_random_password" "admin" {
  password_length     = 24
  exclude_punctuation = true
}

ephemeral "aws_secretsmanager_random_password" "key" {
  password_length     = 64
  exclude_punctuation = true
}

locals {
  secrets = {
    database = "Address of the tracking database, with the password of the server's role"
    admin    = "First password of the user admin"
    key      = "Signs the forms of the log-in"
  }
  server_role = "teststrip"
  database_ca = "/data/database-ca.pem"
}

resource "aws_secretsmanager_secret" "this" {
  for_each                = local.secrets
  name                    = "${var.name}/${each.key}"
  description             = each.value
  recovery_window_in_days = var.protect ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id = aws_secretsmanager_secret.this["database"].id
  secret_string_wo = join("", [
    "postgresql://${local.server_role}:",
    ephemeral.aws_secretsmanager_random_password.database.random_password,
    "@${aws_db_instance.this.address}:${aws_db_instance.this.port}/mlflow",
    "?sslmode=verify-full&sslrootcert=${local.database_ca}",
  ])
  secret_string_wo_version = var.rotation.database
}

resource "aws_secretsmanager_secret_version" "admin" {
  secret_id                = aws_secretsmanager_secret.this["admin"].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.admin.random_password
  secret_string_wo_version = var.rotation.admin
}

resource "aws_secretsmanager_secret_version" "key" {
  secret_id                = aws_secretsmanager_secret.this["key"].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.key.random_password
  secret_string_wo_version = var.rotation.key
}

locals {
  # as a task names them: <arn>:<key of JSON>:<stage>:<version id>
  pinned = { for name, version in {
    database = aws_secretsmanager_secret_version.database
    admin    = aws_secretsmanager_secret_version.admin
    key      = aws_secretsmanager_secret_version.key
  } : name => "${version.arn}:::${version.version_id}" }
}
