# What the provider of AWS has of ECR and IAM beside the configuration of docs/recipes.md, and what ecrin knows of it.

provider "aws" {
  default_tags {
    tags = { kept = var.keep }
  }
}

data "aws_caller_identity" "me" {}

data "aws_region" "here" {}

resource "aws_ecr_registry_policy" "this" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "replicate"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.me.account_id}:root" }
      Action    = ["ecr:CreateRepository", "ecr:ReplicateImage"]
      Resource  = "arn:aws:ecr:${data.aws_region.here.name}:${data.aws_caller_identity.me.account_id}:repository/*"
    }]
  })
}

resource "aws_ecr_replication_configuration" "this" {
  replication_configuration {
    rule {
      destination {
        region      = "eu-west-1"
        registry_id = data.aws_caller_identity.me.account_id
      }
      repository_filter {
        filter      = "shop-copies"
        filter_type = "PREFIX_MATCH"
      }
    }
  }
}

resource "aws_ecr_pull_through_cache_rule" "quay" {
  ecr_repository_prefix = "quay"
  upstream_registry_url = "quay.io"
}

resource "aws_ecr_pull_through_cache_rule" "root" {
  ecr_repository_prefix      = "k8s"
  upstream_registry_url      = "registry.k8s.io"
  upstream_repository_prefix = "ROOT"
}

resource "aws_ecr_repository_creation_template" "quay" {
  prefix               = "quay"
  description          = "keeps ${var.keep}"
  applied_for          = ["PULL_THROUGH_CACHE"]
  image_tag_mutability = "MUTABLE"
  resource_tags        = { from = "quay" }
}

resource "aws_ecr_account_setting" "scope" {
  name  = "REGISTRY_POLICY_SCOPE"
  value = "V2"
}

resource "aws_ecr_repository" "scanned" {
  name         = "shop/scanned"
  force_delete = true
  image_scanning_configuration { scan_on_push = true }
  encryption_configuration { encryption_type = "AES256" }
}

data "aws_ecr_lifecycle_policy_document" "days" {
  rule {
    priority = 1
    selection {
      tag_status   = "untagged"
      count_type   = "sinceImagePushed"
      count_unit   = "days"
      count_number = var.keep
    }
  }
}

resource "aws_ecr_lifecycle_policy" "scanned" {
  repository = aws_ecr_repository.scanned.name
  policy     = data.aws_ecr_lifecycle_policy_document.days.json
}

resource "aws_iam_group" "developers" {
  name = "shop-developers"
}

resource "aws_iam_group_membership" "developers" {
  name  = "developers"
  group = aws_iam_group.developers.name
  users = [aws_iam_user.developer.name]
}

resource "aws_iam_group_policy_attachment" "read" {
  group      = aws_iam_group.developers.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
}

resource "aws_iam_group_policy" "registry" {
  name   = "registry"
  group  = aws_iam_group.developers.name
  policy = data.aws_iam_policy_document.registry.json
}

data "aws_iam_policy_document" "registry" {
  statement {
    actions   = ["ecr:DescribeRegistry"]
    resources = ["*"]
  }
}

resource "aws_iam_user" "developer" {
  name                 = "shop-developer"
  permissions_boundary = aws_iam_policy.boundary.arn
}

resource "aws_iam_user_login_profile" "developer" {
  user = aws_iam_user.developer.name
}

resource "aws_iam_user_policy" "own" {
  name   = "own"
  user   = aws_iam_user.developer.name
  policy = data.aws_iam_policy_document.registry.json
}

resource "aws_iam_policy" "boundary" {
  name = "shop-boundary"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "ecr:*", Resource = "*", Condition = { NumericLessThan = { "aws:MultiFactorAuthAge" = var.keep } } }]
  })
}

resource "aws_iam_role_policy_attachment" "pull" {
  role       = aws_iam_role.pull.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
}

resource "aws_iam_role_policies_exclusive" "pull" {
  role_name    = aws_iam_role.pull.name
  policy_names = [aws_iam_role_policy.token.name]
}

resource "aws_iam_role_policy_attachments_exclusive" "pull" {
  role_name   = aws_iam_role.pull.name
  policy_arns = [aws_iam_role_policy_attachment.pull.policy_arn]
}

resource "aws_iam_openid_connect_provider" "github" {
  url             = "https://token.actions.githubusercontent.com"
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["6938fd4d98bab03faadb97b34396831e3780aea1"]
}

resource "aws_iam_role" "github" {
  name                 = "shop-github"
  max_session_duration = 7200
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = aws_iam_openid_connect_provider.github.arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com" } }
    }]
  })
}

resource "aws_iam_instance_profile" "node" {
  name = "shop-node"
  role = aws_iam_role.pull.name
}

resource "aws_iam_account_alias" "this" {
  account_alias = "shop-of-ecrin"
}

data "aws_ecr_repository" "app" { name = aws_ecr_repository.app.name }

data "aws_ecr_repositories" "all" { depends_on = [aws_ecr_repository.app] }

data "aws_ecr_authorization_token" "token" {}

data "aws_ecr_repository_creation_template" "quay" { prefix = aws_ecr_repository_creation_template.quay.prefix }

data "aws_ecr_pull_through_cache_rule" "quay" { ecr_repository_prefix = aws_ecr_pull_through_cache_rule.quay.ecr_repository_prefix }

data "aws_iam_policy" "read" { name = "AmazonEC2ContainerRegistryReadOnly" }

data "aws_iam_role" "pull" { name = aws_iam_role.pull.name }

data "aws_iam_user" "ci" { user_name = aws_iam_user.ci.name }

data "aws_iam_users" "shop" { path_prefix = "/shop/" }

data "aws_iam_roles" "shop" { path_prefix = "/shop/" }

data "aws_iam_group" "developers" { group_name = aws_iam_group.developers.name }

data "aws_iam_session_context" "me" { arn = data.aws_caller_identity.me.arn }

data "aws_iam_account_alias" "this" { depends_on = [aws_iam_account_alias.this] }

data "aws_iam_access_keys" "ci" { user = aws_iam_user.ci.name }

data "aws_iam_openid_connect_provider" "github" { arn = aws_iam_openid_connect_provider.github.arn }

data "aws_iam_instance_profile" "node" { name = aws_iam_instance_profile.node.name }

data "aws_iam_instance_profiles" "pull" { role_name = aws_iam_role.pull.name }

data "aws_iam_principal_policy_simulation" "push" {
  action_names      = ["ecr:PutImage"]
  policy_source_arn = aws_iam_user.ci.arn
  resource_arns     = [aws_ecr_repository.app.arn]
}
