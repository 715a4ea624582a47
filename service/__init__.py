"""The service. The ground: settings, mounted filesystems, starting a child process."""
