"""The demos beside that of tickets, and what they share."""
