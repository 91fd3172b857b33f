variable "region" {
  description = "Where it all lives, e.g. eu-central-1."
  type        = string
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is written like eu-central-1."
  }
}

variable "name" {
  description = "First part of every name; two installations in one account need two."
  type        = string
  default     = "teststrip"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "3 to 20 small letters, digits and hyphens, a letter first, no hyphen last."
  }
}

variable "host_name" {
  description = "What browsers and clients call the server, e.g. mlflow.example.org."
  type        = string
  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.host_name))
    error_message = "A full host name without https:// and without a port, e.g. mlflow.example.org."
  }
}

variable "zone_id" {
  description = "Route 53 zone of host_name: certificate and DNS record are made in it. Else certificate_arn."
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "An ACM certificate for host_name, of this region, where zone_id is not given."
  type        = string
  default     = null
  validation {
    condition     = (var.certificate_arn == null) != (var.zone_id == null)
    error_message = "Give zone_id (certificate and record are made) or certificate_arn, one of them."
  }
}

variable "allow_cidrs" {
  description = "Who may reach the log-in, e.g. [\"203.0.113.0/24\"]; [\"0.0.0.0/0\"] is everybody."
  type        = list(string)
  validation {
    condition     = length(var.allow_cidrs) > 0 && alltrue([for c in var.allow_cidrs : can(cidrhost(c, 0))])
    error_message = "At least one network in the form 203.0.113.0/24."
  }
}

variable "internal" {
  description = "true: the balancer has private addresses only, for those who come by VPN."
  type        = bool
  default     = false
}

variable "image" {
  description = "The image teststrip-track by its digest, in ECR: <repository>@sha256:<64 hex digits>."
  type        = string
  validation {
    condition     = can(regex("^[^@ ]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by digest (repository@sha256:...): a tag can change under you."
  }
}

variable "database_ca_file" {
  description = "CA bundle of RDS in your region, a PEM file; docs/deploy/aws.md says where it is."
  type        = string
  validation {
    condition     = can(regex("BEGIN CERTIFICATE", file(var.database_ca_file)))
    error_message = "No PEM file with certificates: get the bundle of your region, see docs/deploy/aws.md."
  }
  validation {
    # All containers of a task share 64 KB of definition; the bundle of one region has under 10.
    condition     = try(length(file(var.database_ca_file)), 0) <= 24000
    error_message = "Too long for a task's definition: take the bundle of your region, not the global one."
  }
}

variable "replicas" {
  description = "Servers that run; 0 before the databases are prepared, and to put it to sleep."
  type        = number
  default     = 1
  validation {
    condition     = var.replicas >= 0 && var.replicas <= 10 && floor(var.replicas) == var.replicas
    error_message = "0 to 10."
  }
}

variable "task_cpu" {
  description = "CPU of one server, in 1/1024."
  type        = number
  default     = 1024
  validation {
    condition     = contains([512, 1024, 2048, 4096], var.task_cpu)
    error_message = "512, 1024, 2048 or 4096."
  }
}

variable "task_memory" {
  description = "Memory of one server in MiB; Fargate takes 2 to 8 times the CPU's number."
  type        = number
  default     = 2048
  validation {
    condition     = var.task_memory % 1024 == 0 && var.task_memory >= 1024
    error_message = "A multiple of 1024, 1024 at least."
  }
}

variable "schedule" {
  description = "Scale to zero by the clock: six fields of cron, e.g. {start=\"0 7 ? * MON-FRI *\", stop=\"0 20 ? * * *\"}. null: always on."
  type = object({
    start    = string
    stop     = string
    timezone = optional(string, "UTC")
  })
  default = null
}

variable "database_class" {
  description = "Machine of the database."
  type        = string
  default     = "db.t4g.micro"
}

variable "database_gib" {
  description = "Disk of the database at first; it grows by itself to five times that."
  type        = number
  default     = 20
  validation {
    condition     = var.database_gib >= 20
    error_message = "RDS wants 20 GiB at least."
  }
}

variable "multi_az" {
  description = "A second database that takes over; doubles the database's price."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "How far back the database and deleted pictures can be brought."
  type        = number
  default     = 14
  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "1 to 35: no database without backups."
  }
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30
}

variable "protect" {
  description = "false: `terraform destroy` may delete database, bucket and secrets for good."
  type        = bool
  default     = true
}

variable "rotation" {
  description = "Count one up and apply: a new secret is made. See docs/deploy/aws.md, rotate."
  type = object({
    database = optional(number, 1)
    admin    = optional(number, 1)
    key      = optional(number, 1)
  })
  default = {}
}

variable "alarm_topic_arn" {
  description = "SNS topic that is told of alarms; null: they only show in CloudWatch."
  type        = string
  default     = null
}
