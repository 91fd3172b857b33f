# iap: Google asks who you are and lets `members` through to the server, which believes it.
# login: everybody may reach the server (allUsers), which asks for its own user and password.

resource "google_iap_web_cloud_run_service_iam_member" "member" {
  for_each               = toset(var.access == "iap" ? var.members : [])
  location               = var.region
  cloud_run_service_name = google_cloud_run_v2_service.track.name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.key
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  name     = google_cloud_run_v2_service.track.name
  location = var.region
  role     = "roles/run.invoker"
  member   = var.access == "iap" ? local.iap_agent : "allUsers"
}

locals {
  iap_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-iap.iam.gserviceaccount.com"
}
