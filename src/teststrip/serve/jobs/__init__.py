"""What a job is: its wish, its states, its name."""
