"""That this file is here lets tests in the directories below import what lies beside it."""
