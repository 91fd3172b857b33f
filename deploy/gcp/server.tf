# The server on Cloud Run: none while nobody asks, one some seconds after the first request.

locals {
  url = "https://${var.name}-track-${data.google_project.this.number}.${var.region}.run.app"
  environment = {
    TESTSTRIP_HOME                  = "/tmp/teststrip" # in memory; nothing in it needs to be kept
    TESTSTRIP_TRACK_ARTIFACTS       = "gs://${google_storage_bucket.artifacts.name}/artifacts"
    TESTSTRIP_TRACK_PUBLIC_URL      = var.host_name == "" ? local.url : "https://${var.host_name}"
    TESTSTRIP_TRACK_ALLOW_HOSTS     = trimprefix(local.url, "https://")
    TESTSTRIP_TRACK_TRUSTED_PROXIES = "127.0.0.1,169.254.0.0/16"
    TESTSTRIP_TRACK_LOGIN           = var.access == "iap" ? "proxy" : "on"
    TESTSTRIP_TRACK_LOG             = "json"
  }
}

resource "google_cloud_run_v2_service" "track" {
  name                = "${var.name}-track"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL"
  iap_enabled         = var.access == "iap"
  deletion_protection = var.protect
  depends_on          = [google_secret_manager_secret_iam_member.server, google_sql_database.this]

  template {
    service_account                  = google_service_account.server.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = 40
    timeout                          = "900s" # a large model over a slow line

    scaling {
      min_instance_count = 0
      max_instance_count = var.max_instances
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.this.id
        subnetwork = google_compute_subnetwork.server.id
      }
    }

    containers {
      name       = "proxy"
      image      = var.proxy_image
      command    = ["sh", "-c", "printf '%s' \"$CADDYFILE\" | exec caddy run --adapter caddyfile --config -"]
      depends_on = ["server"]
      ports {
        name           = "h2c"
        container_port = 8080
      }
      env {
        name  = "CADDYFILE"
        value = file("${path.module}/Caddyfile")
      }
      resources {
        limits = {
          cpu    = "1"
          memory = "256Mi"
        }
        cpu_idle          = true
        startup_cpu_boost = true
      }
    }

    containers {
      name  = "server"
      image = var.image
      args  = ["track", "serve", "--host", "0.0.0.0", "--port", "5000"]

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets
        content {
          name = env.value
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.this[env.key].secret_id
              version = local.version[env.key]
            }
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
          memory = var.memory
        }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 110 # the first start also makes the tables; Cloud Run allows 240 s
        http_get {
          path = "/health"
          port = 5000
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 10
        failure_threshold = 4
        http_get {
          path = "/health"
          port = 5000
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
