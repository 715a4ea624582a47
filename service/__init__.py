"""The service. The ground: settings, the log, traces, mounted filesystems, starting a child process."""
