"""What operators do and look at: status, reset, release, dead letters, files of records. First the plan, then the deed."""
