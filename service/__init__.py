"""The service. The ground: settings, mounted filesystems, starting a child process."""

__version__ = "0.1.0"
