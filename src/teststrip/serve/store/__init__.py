"""Where finished pictures lie: a folder or S3."""
