"""Revisions, oldest first. One that has been released is never changed; each states its own types and names."""
