"""What is raised when settings cannot be used."""


class SettingsError(Exception):
    """A setting has a bad value, or there is no such setting; the text is one line for the operator."""
