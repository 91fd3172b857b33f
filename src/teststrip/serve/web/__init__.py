"""The pages and the API; starts without torch."""
