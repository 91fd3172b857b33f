"""Where jobs wait: lanes, in memory or in RabbitMQ."""
