variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "The project's id (not its number or name), e.g. my-team-123."
  }
}

variable "region" {
  description = "Where it all lives, e.g. europe-west1."
  type        = string
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is written like europe-west1."
  }
}

variable "name" {
  description = "First part of every name; two installations in one project need two."
  type        = string
  default     = "teststrip"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "3 to 16 small letters, digits and hyphens, a letter first, no hyphen last."
  }
}

variable "image" {
  description = "The image teststrip-track by its digest: <region>-docker.pkg.dev/...@sha256:<64 hex digits>."
  type        = string
  validation {
    condition     = can(regex("^[^@ ]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by digest (repository@sha256:...): a tag can change under you."
  }
}

variable "proxy_image" {
  description = "Caddy, which speaks HTTP/2 for the server (see server.tf), by its digest."
  type        = string
  default     = "docker.io/library/caddy:2.11.4-alpine@sha256:5f5c8640aae01df9654968d946d8f1a56c497f1dd5c5cda4cf95ab7c14d58648"
  validation {
    condition     = can(regex("^[^@ ]+@sha256:[0-9a-f]{64}$", var.proxy_image))
    error_message = "Name the image by digest (repository@sha256:...): a tag can change under you."
  }
}

variable "access" {
  description = "iap: Google's log-in before the server, for `members`. login: the server's own log-in, open to the internet."
  type        = string
  default     = "iap"
  validation {
    condition     = contains(["iap", "login"], var.access)
    error_message = "iap or login."
  }
}

variable "members" {
  description = "Who may come in with access = iap, e.g. [\"group:team@example.org\", \"serviceAccount:...\"]."
  type        = list(string)
  default     = []
  validation {
    condition     = var.access != "iap" || length(var.members) > 0
    error_message = "With access = iap name at least one member: user:..., group:..., serviceAccount:..., domain:..."
  }
  validation {
    condition     = alltrue([for m in var.members : can(regex("^(user|group|serviceAccount|domain):.+", m))])
    error_message = "Members are written user:..., group:..., serviceAccount:... or domain:..., never allUsers."
  }
}

variable "host_name" {
  description = "A further name of the server, where a load balancer or a domain mapping gives it one."
  type        = string
  default     = ""
}

variable "max_instances" {
  description = "Servers at most; there are none while nobody asks."
  type        = number
  default     = 3
  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 20
    error_message = "1 to 20: each holds connections to the database."
  }
}

variable "memory" {
  description = "Memory of one server; files on their way through it are in it, too."
  type        = string
  default     = "2Gi"
  validation {
    condition     = can(regex("^[1-9][0-9]*Gi$", var.memory))
    error_message = "Written like 2Gi, 1Gi at least."
  }
}

variable "database_tier" {
  description = "Machine of the database; db-f1-micro and db-g1-small are shared ones without SLA."
  type        = string
  default     = "db-g1-small"
}

variable "database_available" {
  description = "A second database in another zone that takes over; doubles the database's price."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "How many daily backups are kept, and how long deleted pictures can be brought back."
  type        = number
  default     = 14
  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 90
    error_message = "7 to 90 (the bucket keeps what was deleted for 7 days at least)."
  }
}

variable "protect" {
  description = "false: `terraform destroy` may delete database and bucket for good."
  type        = bool
  default     = true
}

variable "rotation" {
  description = "Count one up and apply: a new secret is made. See docs/deploy/gcp.md, rotate."
  type = object({
    database = optional(number, 1)
    admin    = optional(number, 1)
    key      = optional(number, 1)
  })
  default = {}
}

variable "ci_repository" {
  description = "owner/name on GitHub whose branch ci_branch may push images, without any key. null: none."
  type        = string
  default     = null
  validation {
    condition     = var.ci_repository == null || can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.ci_repository))
    error_message = "owner/name."
  }
}

variable "ci_branch" {
  description = "The branch of ci_repository that may."
  type        = string
  default     = "main"
  validation {
    condition     = can(regex("^[A-Za-z0-9_./-]+$", var.ci_branch))
    error_message = "A branch's name."
  }
}
