# Pictures, models and tables: one bucket, never public.

resource "google_storage_bucket" "artifacts" {
  name                        = "${var.project}-${var.name}-artifacts"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.protect

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 7 * 24 * 3600
  }

  # What was deleted or overwritten can be brought back for backup_days.
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.backup_days
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 2
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }
}

resource "google_storage_bucket_iam_member" "server" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectUser" # objects, not who may see them
  member = google_service_account.server.member
}
