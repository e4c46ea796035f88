"""The commands of run-cmd.sh, one file each."""
