"""What operators see of a running process: its logs, metrics and traces. Nothing here decides anything."""
