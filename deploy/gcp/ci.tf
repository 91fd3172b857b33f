# Images are pushed by the repository's own workflow: GitHub says who it is (Workload Identity
# Federation), so there is no key to leak. It may push images and nothing else; what runs is
# changed by whoever applies this.

locals {
  ci = var.ci_repository == null ? [] : [var.ci_repository]
}

resource "google_iam_workload_identity_pool" "ci" {
  for_each                  = toset(local.ci)
  workload_identity_pool_id = "${var.name}-ci"
  depends_on                = [google_project_service.this]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  for_each                           = toset(local.ci)
  workload_identity_pool_id          = google_iam_workload_identity_pool.ci[each.key].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }
  # Without a condition every repository of GitHub could come in.
  attribute_condition = "assertion.repository == '${each.key}' && assertion.ref == 'refs/heads/${var.ci_branch}'"
  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "ci" {
  for_each     = toset(local.ci)
  account_id   = "${var.name}-ci"
  display_name = "Pushes images of ${var.name}"
}

resource "google_service_account_iam_member" "ci" {
  for_each           = toset(local.ci)
  service_account_id = google_service_account.ci[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.ci[each.key].name}/attribute.repository/${each.key}"
}

resource "google_artifact_registry_repository_iam_member" "ci" {
  for_each   = toset(local.ci)
  repository = google_artifact_registry_repository.this.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.ci[each.key].member
}
