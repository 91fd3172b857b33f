# Before an upgrade of a large database, at a time of your choice: gcloud run jobs execute --wait.
# Small ones are brought up to date by the server's start, one server at a time.

resource "google_cloud_run_v2_job" "migrate" {
  name                = "${var.name}-migrate"
  location            = var.region
  deletion_protection = false
  depends_on          = [google_secret_manager_secret_iam_member.server, google_sql_database.this]

  template {
    template {
      service_account = google_service_account.server.email
      max_retries     = 0
      timeout         = "3600s"

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.this.id
          subnetwork = google_compute_subnetwork.server.id
        }
      }

      containers {
        image = var.image
        args  = ["track", "migrate"]
        env {
          name  = "TESTSTRIP_HOME"
          value = "/tmp/teststrip"
        }
        env {
          name = local.secrets.database
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.this["database"].secret_id
              version = local.version.database
            }
          }
        }
        volume_mounts {
          name       = "database-ca"
          mount_path = "/database-ca"
        }
        resources {
          limits = {
            cpu    = "1"
            memory = "1Gi"
          }
        }
      }

      volumes {
        name = "database-ca"
        secret {
          secret       = google_secret_manager_secret.database_ca.secret_id
          default_mode = 292 # 0444
          items {
            path    = "ca.pem"
            version = google_secret_manager_secret_version.database_ca.version
          }
        }
      }
    }
  }
}
