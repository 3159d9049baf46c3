"""Alembic's environment and revisions; ``signaling/storage/migrations.py`` runs them, nobody else need."""
