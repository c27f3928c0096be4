"""Several processes on one task: groups, launching, gathering and synchronised batch norms."""
