# Where the image comes from. Tags cannot be moved; the newest ten images are kept.

resource "aws_ecr_repository" "track" {
  name                 = "${var.name}-track"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.protect
  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "track" {
  repository = aws_ecr_repository.track.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "the newest ten"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}
