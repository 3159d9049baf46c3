"""Where settings come from and how they are shown. The table of settings itself is ``signaling.settings``."""
