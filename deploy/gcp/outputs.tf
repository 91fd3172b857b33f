output "url" {
  description = "MLFLOW_TRACKING_URI of the clients."
  value       = local.environment.TESTSTRIP_TRACK_PUBLIC_URL
}

output "repository" {
  description = "Where the image is pushed to: <repository>/teststrip-track."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.this.repository_id}"
}

output "bucket" {
  description = "Holds the artifacts."
  value       = google_storage_bucket.artifacts.name
}

output "database" {
  description = "The instance of Cloud SQL."
  value       = google_sql_database_instance.this.name
}

output "admin_secret" {
  description = "Secret that holds the first password of the user admin."
  value       = google_secret_manager_secret.this["admin"].secret_id
}

output "migrate_job" {
  description = "Run it before an upgrade: gcloud run jobs execute <it> --wait."
  value       = google_cloud_run_v2_job.migrate.name
}

output "ci_provider" {
  description = "workload_identity_provider of the workflow that pushes images."
  value       = one([for provider in google_iam_workload_identity_pool_provider.github : provider.name])
}

output "ci_account" {
  description = "service_account of the workflow that pushes images."
  value       = one([for account in google_service_account.ci : account.email])
}
