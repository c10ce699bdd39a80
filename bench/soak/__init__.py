"""What is wrong only after hours, done in minutes: memory, floods, fuzzing."""
