"""Voices as samples: how sessions hear and speak without WebRTC, over their WebSocket."""
