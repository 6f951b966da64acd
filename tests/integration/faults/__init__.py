"""What happens to events when processes, connections and servers fail at the worst moment."""
