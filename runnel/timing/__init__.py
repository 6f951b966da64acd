"""What runs by the clock: jobs and their schedules, hooks, delayed events. Declarations and decisions: roles/ acts."""
