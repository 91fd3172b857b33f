# Who the server is: an account of its own with one bucket, four secrets, no project-wide role.

resource "google_service_account" "server" {
  account_id   = "${var.name}-track"
  display_name = "Tracking server of ${var.name}"
  depends_on   = [google_project_service.this]
}
