"""Makes the buckets that are missing. S3_ENDPOINT, BUCKETS (by comma) and AWS_* say where."""

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def main() -> int:
    """Make them; what is there already stays as it is. Raises ClientError for any other refusal."""
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        region_name="us-east-1",
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 8}
        ),
    )
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in os.environ["BUCKETS"].split(","):
        if name not in there:
            try:
                client.create_bucket(Bucket=name)
            except ClientError as exc:
                if exc.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                    raise
        print(f"bucket {name} is there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
