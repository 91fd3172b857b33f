"""What keeps the service healthy: sweeping, dead letters, webhooks, numbers."""
