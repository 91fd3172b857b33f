"""Takes jobs from the queue, makes their pictures, acknowledges last."""
