"""That this file is here lets tests in this directory import what lies beside it."""
