"""The service: jobs come in over HTTP, wait in a queue that loses nothing, leave as pictures."""
