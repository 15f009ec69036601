"""What a running sweep says: a table or lines for people, events for programs."""
