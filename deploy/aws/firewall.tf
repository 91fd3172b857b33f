# Who may speak to whom: the world (allow_cidrs) -> balancer -> server -> database, endpoints, S3.
# Nothing else; also no way out.

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Those who may reach the log-in"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "server" {
  name        = "${var.name}-server"
  description = "Tracking server"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "PostgreSQL"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "AWS APIs that the server needs"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  for_each          = { for pair in setproduct(var.allow_cidrs, [80, 443]) : "${pair[0]}:${pair[1]}" => pair }
  security_group_id = aws_security_group.balancer.id
  cidr_ipv4         = each.value[0]
  ip_protocol       = "tcp"
  from_port         = each.value[1] # 80 only sends on to 443
  to_port           = each.value[1]
}

locals {
  # from -> to, port
  ways = {
    balancer_server  = [aws_security_group.balancer.id, aws_security_group.server.id, 5000]
    server_database  = [aws_security_group.server.id, aws_security_group.database.id, 5432]
    server_endpoints = [aws_security_group.server.id, aws_security_group.endpoints.id, 443]
  }
}

resource "aws_vpc_security_group_egress_rule" "way" {
  for_each                     = local.ways
  security_group_id            = each.value[0]
  referenced_security_group_id = each.value[1]
  ip_protocol                  = "tcp"
  from_port                    = each.value[2]
  to_port                      = each.value[2]
}

resource "aws_vpc_security_group_ingress_rule" "way" {
  for_each                     = local.ways
  security_group_id            = each.value[1]
  referenced_security_group_id = each.value[0]
  ip_protocol                  = "tcp"
  from_port                    = each.value[2]
  to_port                      = each.value[2]
}

data "aws_ec2_managed_prefix_list" "s3" {
  name = "com.amazonaws.${var.region}.s3"
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  security_group_id = aws_security_group.server.id
  prefix_list_id    = data.aws_ec2_managed_prefix_list.s3.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
