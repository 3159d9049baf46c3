"""The stream of events for administrators: ``/ws/admin/events``, with filters, replay, and batches of what is frequent."""
