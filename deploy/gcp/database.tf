# PostgreSQL with a private address, over TLS alone; two databases, one user for the server.

resource "google_sql_database_instance" "this" {
  name                = var.name
  region              = var.region
  database_version    = "POSTGRES_17"
  deletion_protection = var.protect
  depends_on          = [google_service_networking_connection.database]

  settings {
    tier                        = var.database_tier
    edition                     = "ENTERPRISE" # from PostgreSQL 16 on the default is a dearer one
    availability_type           = var.database_available ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = 10
    disk_autoresize             = true
    disk_autoresize_limit       = 100
    deletion_protection_enabled = var.protect # also against deleting it by hand

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.this.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = var.backup_days
      }
    }

    final_backup_config {
      enabled        = var.protect
      retention_days = 30
    }
  }
}

resource "google_sql_database" "this" {
  for_each = toset(["mlflow", "mlflow_login"])
  name     = each.key
  instance = google_sql_database_instance.this.name
}

resource "google_sql_user" "server" {
  name                = "teststrip"
  instance            = google_sql_database_instance.this.name
  password_wo         = ephemeral.random_password.this["database"].result
  password_wo_version = var.rotation.database
  deletion_policy     = "ABANDON" # it owns tables: it goes with the instance
}
