"""Actions that AWS checks against no particular resource: a policy can allow them for ``*`` only.

A selection from the Service Authorization Reference, of services that stacks around tenants use; the rule's parameter
``actions`` adds to it. https://docs.aws.amazon.com/service-authorization/latest/reference/

``ec2:Describe*`` is the exception: a few of its actions know resources, and all of them only read what an account has.
"""

WITHOUT_RESOURCE = (
    "acm:ListCertificates",
    "application-autoscaling:Describe*",
    "autoscaling:Describe*",
    "cloudtrail:LookupEvents",
    "cloudwatch:DescribeAlarmsForMetric",
    "cloudwatch:GetMetricData",
    "cloudwatch:GetMetricStatistics",
    "cloudwatch:ListMetrics",
    "cloudwatch:PutMetricData",
    "ec2:Describe*",
    "ec2messages:*",
    "ecr:GetAuthorizationToken",
    "iam:ListAccountAliases",
    "iam:ListPolicies",
    "iam:ListRoles",
    "iam:ListUsers",
    "kms:CreateKey",
    "kms:GenerateRandom",
    "kms:ListAliases",
    "kms:ListKeys",
    "s3:ListAllMyBuckets",
    "secretsmanager:GetRandomPassword",
    "secretsmanager:ListSecrets",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:ListAWSDefaultServiceQuotas",
    "servicequotas:ListServiceQuotas",
    "servicequotas:ListServices",
    "sns:ListTopics",
    "sqs:ListQueues",
    "ssm:DescribeParameters",
    "ssmmessages:*",
    "sts:GetCallerIdentity",
    "tag:GetResources",
    "tag:GetTagKeys",
    "tag:GetTagValues",
    "xray:GetSampling*",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
)
