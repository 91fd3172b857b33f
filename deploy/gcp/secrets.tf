# Made while Terraform runs and written once: neither the state nor a plan holds them. A number in
# var.rotation counted up makes a new one. The server is given a version by its number.

ephemeral "random_password" "this" {
  for_each = { database = 40, admin = 24, key = 64 }
  length   = each.value
  special  = false # one of them stands in an address
}

locals {
  database_ca_file = "/database-ca/ca.pem"
  secrets = {
    database = "TESTSTRIP_TRACK_BACKEND"
    admin    = "TESTSTRIP_TRACK_ADMIN_PASSWORD"
    key      = "TESTSTRIP_TRACK_SECRET_KEY"
  }
}

resource "google_secret_manager_secret" "this" {
  for_each            = local.secrets
  secret_id           = "${var.name}-${each.key}"
  deletion_protection = var.protect
  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_version" "database" {
  secret = google_secret_manager_secret.this["database"].id
  secret_data_wo = join("", [
    "postgresql://${google_sql_user.server.name}:${ephemeral.random_password.this["database"].result}",
    "@${google_sql_database_instance.this.private_ip_address}:5432/mlflow",
    # Not verify-full: the certificate names the instance, not its address.
    "?sslmode=verify-ca&sslrootcert=${local.database_ca_file}",
  ])
  secret_data_wo_version = tostring(var.rotation.database)
}

resource "google_secret_manager_secret_version" "admin" {
  secret                 = google_secret_manager_secret.this["admin"].id
  secret_data_wo         = ephemeral.random_password.this["admin"].result
  secret_data_wo_version = tostring(var.rotation.admin)
}

resource "google_secret_manager_secret_version" "key" {
  secret                 = google_secret_manager_secret.this["key"].id
  secret_data_wo         = ephemeral.random_password.this["key"].result
  secret_data_wo_version = tostring(var.rotation.key)
}

# No secret, but this is how a file gets into Cloud Run: the CA of the database's certificate.
resource "google_secret_manager_secret" "database_ca" {
  secret_id = "${var.name}-database-ca"
  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_version" "database_ca" {
  secret      = google_secret_manager_secret.database_ca.id
  secret_data = google_sql_database_instance.this.server_ca_cert[0].cert
}

resource "google_secret_manager_secret_iam_member" "server" {
  for_each  = merge(google_secret_manager_secret.this, { database_ca = google_secret_manager_secret.database_ca })
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.server.member
}

locals {
  version = {
    database = google_secret_manager_secret_version.database.version
    admin    = google_secret_manager_secret_version.admin.version
    key      = google_secret_manager_secret_version.key.version
  }
}
