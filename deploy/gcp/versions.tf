# Terraform 1.11 is the first with write-only arguments: no password ever enters the state.
terraform {
  required_version = ">= 1.11, < 2.0"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "8.7.0" # the one whose arguments the tests know
    }
    random = {
      source  = "hashicorp/random"
      version = "3.7.2"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
  default_labels = {
    project = var.name
  }
}
