"""Lets tests in the folders below import what stands beside this file."""
