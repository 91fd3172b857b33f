# With zone_id: a certificate that renews itself, and the name. Else: the one that was given.

locals {
  in_zone         = var.zone_id == null ? [] : [var.host_name]
  certificate_arn = var.zone_id == null ? var.certificate_arn : aws_acm_certificate_validation.this[var.host_name].certificate_arn
}

resource "aws_acm_certificate" "this" {
  for_each          = toset(local.in_zone)
  domain_name       = each.key
  validation_method = "DNS"
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "proof" {
  for_each        = toset(local.in_zone)
  zone_id         = var.zone_id
  name            = tolist(aws_acm_certificate.this[each.key].domain_validation_options)[0].resource_record_name
  type            = tolist(aws_acm_certificate.this[each.key].domain_validation_options)[0].resource_record_type
  records         = [tolist(aws_acm_certificate.this[each.key].domain_validation_options)[0].resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "this" {
  for_each                = toset(local.in_zone)
  certificate_arn         = aws_acm_certificate.this[each.key].arn
  validation_record_fqdns = [aws_route53_record.proof[each.key].fqdn]
}

resource "aws_route53_record" "server" {
  for_each = toset(local.in_zone)
  zone_id  = var.zone_id
  name     = each.key
  type     = "A"
  alias {
    name                   = aws_lb.this.dns_name
    zone_id                = aws_lb.this.zone_id
    evaluate_target_health = false
  }
}
