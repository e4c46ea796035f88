"""What this machine can do, each fact with its reason."""
