"""What is known of every job: SQLite or Redis."""
