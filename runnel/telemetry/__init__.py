"""What a worker tells of itself: plain data, collected now and then from its actors, for people and monitoring."""
