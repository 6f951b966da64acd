"""Real workers and real servers under faults that are drawn from a seed; README.md says what is checked, and how."""
