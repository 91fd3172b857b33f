# PostgreSQL that only the server reaches, over TLS. RDS makes, keeps and rotates the password of
# the master, which serves to make the databases (prepare.tf); the server has a role of its own.

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = aws_subnet.private[*].id
}

resource "aws_db_parameter_group" "this" {
  name   = "${var.name}-postgres17"
  family = "postgres17"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  identifier                  = var.name
  engine                      = "postgres"
  engine_version              = "17" # minor versions come by themselves
  auto_minor_version_upgrade  = true
  instance_class              = var.database_class
  allocated_storage           = var.database_gib
  max_allocated_storage       = var.database_gib * 5
  storage_type                = "gp3"
  storage_encrypted           = true
  username                    = "master"
  manage_master_user_password = true
  db_name                     = "postgres_setup" # unused: prepare.tf makes mlflow and mlflow_login
  port                        = 5432

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this.name
  multi_az               = var.multi_az

  backup_retention_period         = var.backup_days
  copy_tags_to_snapshot           = true
  delete_automated_backups        = !var.protect
  deletion_protection             = var.protect
  skip_final_snapshot             = !var.protect
  final_snapshot_identifier       = var.protect ? "${var.name}-last" : null
  enabled_cloudwatch_logs_exports = ["postgresql"]
  apply_immediately               = true
}
