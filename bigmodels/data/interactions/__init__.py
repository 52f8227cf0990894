"""Interactions of users with items: ratings, purchases, or any events."""
